"""Tools, calls and results as engines read them: by the model's template where it has a form for them, else in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.engines.chat_server import DONE, MODEL, ChatServer, Stream, chunk, serving, usage
from vllm_flow.core.ledger import Entry, Ledger
from vllm_flow.core.messages import Message, system, user
from vllm_flow.core.tool_prompts import folded, written_out
from vllm_flow.core.tool_text import call_text, read
from vllm_flow.core.tool_values import ToolCall, ToolResult, ToolSpec
from vllm_flow.core.values import Prompt, Request
from vllm_flow.engines.echo import EchoEngine
from vllm_flow.engines.openai.options import OpenAI
from vllm_flow.engines.transformers.render import Renderer
from vllm_flow.models.random_weights import build_tokenizer
from vllm_flow.models.spec import Model
from vllm_flow.stages.infer import complete
from vllm_flow.testing.asking import home
from vllm_flow.testing.values import schedule

PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
SPEC = ToolSpec("weather", "The weather.", PARAMETERS)
CALL, OTHER = ToolCall("weather", {"place": "北京"}, "call00000"), ToolCall("weather", {"place": "Oslo"})
MESSAGES = (
    system("Be brief."),
    user("Weather?"),
    Message("assistant", (CALL, OTHER)),
    Message("tool", (ToolResult("weather", "Snow.", "call00000"), ToolResult("weather", "Rain."))),
)
PROMPT = Prompt(MESSAGES, tools=(SPEC,))
TEMPLATE = """
{%- if tools %}<tools>{% for one in tools %}{{ one | tojson }}{% endfor %}</tools>{% endif %}
{%- for message in messages %}[{{ message.role }}]{{ message.content }}
{%- for call in message.tool_calls or [] %}(call {{ call.function.name }} {{ call.function.arguments | tojson }} {{ call.id }}){% endfor %}
{%- if message.role == 'tool' %}({{ message.name }} {{ message.tool_call_id }}){% endif %}
{%- endfor %}
{%- if add_generation_prompt %}[assistant]{% endif %}"""


def test_a_template_that_knows_tools_is_told_of_them_in_its_own_form() -> None:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEMPLATE
    renderer = Renderer(tokenizer)
    assert renderer.tools == "template"
    text = renderer.text(PROMPT)
    described, _, said = text.removeprefix("<tools>").partition("</tools>")
    function = {"name": "weather", "description": "The weather.", "parameters": PARAMETERS}
    assert json.loads(described) == {"type": "function", "function": function}
    assert said == (
        "[system]Be brief.[user]Weather?[assistant]"
        '(call weather {"place": "北京"} call00000)(call weather {"place": "Oslo"} call00001)'
        "[tool]Snow.(weather call00000)[tool]Rain.(weather call00001)[assistant]"
    )
    assert renderer.text(Prompt((user("Hi"),))) == "[user]Hi[assistant]"


def test_a_template_without_tools_reads_them_in_words() -> None:
    renderer = Renderer(build_tokenizer())
    assert renderer.tools == "written"
    text = renderer.text(PROMPT)
    assert '"name": "weather"' in text
    assert call_text(CALL) in text
    assert "<tool_response>\nSnow.\n</tool_response>\n<tool_response>\nRain.\n</tool_response>" in text
    assert len(renderer.ids(PROMPT)) > len(renderer.ids(Prompt(MESSAGES)))


def test_echo_reads_them_in_words_and_says_the_newest_of_the_users_back() -> None:
    engine = EchoEngine()
    assert engine.count(PROMPT) > engine.count(Prompt(MESSAGES[:2]))
    said = home().run(complete(engine, Request(Prompt((user("Hi there"),), tools=(SPEC,)), schedule())))
    assert said.text == "Hi there"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with serving() as one:
        yield one


def reply(server: ChatServer, dialect: Any = "openai") -> str:
    engine = OpenAI(model=Model("m", served=MODEL), base_url=server.base_url, timeout_s=5.0, dialect=dialect).open()
    try:
        return home().run(complete(engine, Request(PROMPT, schedule()))).text
    finally:
        engine.close()


def piece(index: int, **function: str) -> str:
    return chunk({"tool_calls": [{"index": index, "id": "x", "type": "function", "function": function}]})


def test_a_server_is_sent_tools_as_it_has_them_and_its_calls_are_words_of_the_answer(server: ChatServer) -> None:
    calls = (
        chunk({"role": "assistant", "content": "I look."}),
        piece(0, name="weather", arguments=""),
        piece(0, arguments='{"place": '),
        piece(0, arguments='"Oslo"}'),
        piece(1, name="clock", arguments=""),
    )
    server.script.append(Stream((*calls, chunk({}, finish_reason="tool_calls"), usage(9, 9), DONE)))
    said = read(reply(server))
    assert (said.words, said.calls) == ("I look.", (ToolCall("weather", {"place": "Oslo"}), ToolCall("clock", {})))
    body = server.asked[0].body
    function = {"name": "weather", "description": "The weather.", "parameters": PARAMETERS}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["messages"][2:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call00000",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"place": "北京"}'},
                },
                {
                    "id": "call00001",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"place": "Oslo"}'},
                },
            ],
        },
        {"role": "tool", "name": "weather", "tool_call_id": "call00000", "content": "Snow."},
        {"role": "tool", "name": "weather", "tool_call_id": "call00001", "content": "Rain."},
    ]


def test_arguments_that_are_no_json_are_left_for_the_model_to_mend(server: ChatServer) -> None:
    server.script.append(
        Stream(
            (piece(0, name="weather", arguments='{"place'), chunk({}, finish_reason="tool_calls"), usage(1, 1), DONE)
        )
    )
    assert read(reply(server)).problem.startswith("the call is no JSON: ")


def test_a_server_that_is_not_known_to_read_tools_reads_them_in_words(server: ChatServer) -> None:
    server.script.append(Stream((chunk({"content": "Hi."}), chunk({}, finish_reason="stop"), usage(1, 1), DONE)))
    assert reply(server, "common") == "Hi."
    body = server.asked[0].body
    assert "tools" not in body
    assert [one["role"] for one in body["messages"]] == ["system", "user", "assistant", "user"]


def test_what_tools_take_of_a_prompt_is_in_its_ledger_which_adds_up() -> None:
    known = Ledger((Entry("system"), Entry("question")), whose=(("system",), ("question",)))
    written, tokenizer = Renderer(build_tokenizer()), build_tokenizer()
    tokenizer.chat_template = TEMPLATE
    for renderer in (written, Renderer(tokenizer)):
        for prompt in (
            replace(PROMPT, ledger=known),
            written_out(replace(PROMPT, ledger=known)),
            folded(replace(PROMPT, ledger=known)),
        ):
            counted = prompt.ledger.measured(renderer.measure(prompt)) if prompt.ledger else None
            assert counted is not None
            assert counted.tokens == len(renderer.ids(prompt))
            entries = {entry.segment: entry.tokens or 0 for entry in counted.entries}
            assert {"system", "question", "tools"} <= {*entries}
            assert entries["question"] <= 12  # of `Weather?`, letter by letter, and what stands behind it
            assert entries["tools"] > 10
