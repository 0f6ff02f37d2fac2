"""How a model's words call functions, in the forms that models were trained on, and how tools are written out."""

from __future__ import annotations

import json

import pytest

from vllm_flow.core.messages import Message, Text, system, user
from vllm_flow.core.tool_prompts import has_tools, written_out
from vllm_flow.core.tool_text import RIGHT, Said, call_text, held_back, read
from vllm_flow.core.tool_values import ToolCall, ToolResult, ToolSpec
from vllm_flow.core.values import Prompt

WEATHER = ToolCall("weather", {"place": "Oslo"})
CLOCK = ToolCall("clock", {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It rains.", Said("It rains.")),
        ('<tool_call>\n{"name": "weather", "arguments": {"place": "Oslo"}}\n</tool_call>', Said("", (WEATHER,))),
        ('Let me see.\n<tool_call>{"name": "weather", "arguments": {"place": "Oslo"}}', Said("Let me see.", (WEATHER,))),
        ('<tool_call>{"name": "clock", "arguments": {}}</tool_call>\n<tool_call>{"name": "weather", "arguments": {"place": "Oslo"}}</tool_call>', Said("", (CLOCK, WEATHER))),
        ('<tool_call>[{"name": "clock", "arguments": {}}, {"name": "weather", "arguments": {"place": "Oslo"}}]</tool_call>', Said("", (CLOCK, WEATHER))),
        ('{"name": "weather", "parameters": {"place": "Oslo"}}', Said("", (WEATHER,))),
        ('<|python_tag|>{"name": "weather", "parameters": {"place": "Oslo"}}', Said("", (WEATHER,))),
        ('{"name": "clock", "parameters": {}}; {"name": "weather", "parameters": {"place": "Oslo"}}', Said("", (CLOCK, WEATHER))),
        ('[TOOL_CALLS][{"name": "weather", "arguments": {"place": "Oslo"}}]', Said("", (WEATHER,))),
        ('[{"name": "weather", "arguments": "{\\"place\\": \\"Oslo\\"}"}]', Said("", (WEATHER,))),
        ('{"type": "function", "function": {"name": "clock", "arguments": {}}}', Said("", (CLOCK,))),
        ('<function=weather>{"place": "Oslo"}</function>', Said("", (WEATHER,))),
        ("<tool_call>\n<function=weather>\n<parameter=place>\nOslo\n</parameter>\n</function>\n</tool_call>", Said("", (WEATHER,))),
        ("<function=clock></function>", Said("", (CLOCK,))),
        ("<tool_call>{'name': 'weather'}</tool_call>", Said("", (), f"the call is no JSON: Expecting property name enclosed in double quotes. {RIGHT}")),
        ('<tool_call>{"name": "a", "arguments": {"x": NaN}}</tool_call>', Said("", (), f"the call is no JSON: NaN is not JSON. Write a finite number or null. {RIGHT}")),
        ('<tool_call>{"name": "a", "arguments": {"x": -1e999}}</tool_call>', Said("", (), f"the call is no JSON: -1e999 is too large a number. Write a smaller one. {RIGHT}")),
        ('<tool_call>{"name": "a", "arguments": {"x": 1, "x": 2}}</tool_call>', Said("", (), f"the call is no JSON: the key 'x' is given twice. Keep one of them. {RIGHT}")),
        (f'<tool_call>{"9" * 5000}</tool_call>', Said("", (), f"the call is no JSON: a whole number of thousands of digits. Write a smaller one. {RIGHT}")),
        ('<tool_call>{"name": "a", "arguments": "{\\"x\\": NaN}"}</tool_call>', Said("", (), f"the call has no name and no arguments. {RIGHT}")),
        ("<function=a><parameter=x>NaN</parameter></function>", Said("", (ToolCall("a", {"x": "NaN"}),))),
        ('<tool_call>{"tool": "weather"}</tool_call>', Said("", (), f"the call has no name and no arguments. {RIGHT}")),
        ("<tool_call></tool_call>", Said("", (), f"the call has no name and no arguments. {RIGHT}")),
        ("<function=weather>Oslo</function>", Said("", (), f"the arguments of weather are no JSON. {RIGHT}")),
        ('{"temperature": 3}', Said('{"temperature": 3}')),
        ("[citation needed]", Said("[citation needed]")),
        ("{" * 100_000, Said("{" * 100_000)),
    ],
)  # fmt: skip
def test_calls_are_read_as_models_write_them(text, said):
    assert read(text) == said


@pytest.mark.parametrize("call", [WEATHER, CLOCK, ToolCall("a", {"x": [1, {"y": "</tool_cal"}], "z": '北京 \\ "'})])
def test_what_is_written_is_read_again(call):
    assert read(call_text(call)) == Said("", (call,))


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("It rains.", "It rains."),
        ("1 < 2 and [3]", "1 < 2 and [3]"),
        ("It is <", "It is <"),
        ('{"temperature": 3}', '{"temperature": 3}'),
        ("I look. <tool_call>{}</tool_call>", "I look. "),
        ('<tool_call>{"name": "a", "arguments": {}}</tool_call>', ""),
        ('{"name": "a", "arguments": {}}', ""),
        ("", ""),
    ],
)
def test_what_may_be_a_call_is_held_back_until_it_is_known(answer, shown):
    seen, pending = "", ""
    for place, letter in enumerate(answer):
        pending += letter
        if not held_back(answer[: place + 1], pending, place == len(answer) - 1):
            seen, pending = seen + pending, ""
    assert seen == shown


def test_a_prompt_is_written_out_for_a_model_without_a_form_for_tools():
    spec = ToolSpec("weather", "The weather.", {"type": "object", "properties": {"place": {"type": "string"}}})
    steps = (
        Message("assistant", (Text("I look."), ToolCall("weather", {"place": "Oslo"}, "call00000"))),
        Message("tool", (ToolResult("weather", "Rain."), ToolResult("clock", "9:30"))),
        Message("tool", (ToolResult("weather", "Snow."),)),
    )
    prompt = Prompt((system("Be kind."), user("Weather?"), *steps), tools=(spec,))
    first, question, called, told = written_out(prompt).messages
    assert (first.role, question) == ("system", user("Weather?"))
    assert first.text.startswith("Be kind.\n\nYou may call functions")
    assert (
        json.dumps(
            {
                "type": "function",
                "function": {"name": "weather", "description": "The weather.", "parameters": spec.parameters},
            }
        )
        in first.text
    )
    assert (called.role, called.text) == ("assistant", f"I look.\n{call_text(WEATHER)}")
    assert (told.role, told.text) == (
        "user",
        "<tool_response>\nRain.\n</tool_response>\n<tool_response>\n9:30\n</tool_response>\n"
        "<tool_response>\nSnow.\n</tool_response>",
    )
    assert written_out(Prompt((user("Hi"),), tools=(spec,))).messages[0].role == "system"
    assert not has_tools(written_out(prompt))
    assert written_out(Prompt((user("Hi"), user("Ho")))) == Prompt((user("Hi"), user("Ho")))
