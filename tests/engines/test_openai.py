"""The openai engine against a server on this machine: what is sent, what comes of it, and every way it can fail."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from tests.engines.chat_server import DONE, MODEL, ChatServer, Refuse, Stream, chunk, serving, usage, whole
from vllm_flow.cli import main
from vllm_flow.core.errors import ContextOverflow, EngineError
from vllm_flow.core.media import Audio, Image
from vllm_flow.core.messages import Message, Text, system, user
from vllm_flow.core.shape import Parsed, Shape
from vllm_flow.core.values import Completion, Prompt, Request, Token, Usage
from vllm_flow.engines.openai import engine as live
from vllm_flow.engines.openai.dialects import DIALECTS, written_shape
from vllm_flow.engines.openai.options import OpenAI
from vllm_flow.models.spec import Model
from vllm_flow.stages.infer import complete
from vllm_flow.testing import ask, check_engine, prompt
from vllm_flow.testing.values import schedule

KEY = "sk-very-secret"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setattr(live, "FIRST_WAIT_S", 0.001)
    with serving() as one:
        yield one


def options(server: ChatServer, **how: Any) -> OpenAI:
    return OpenAI(**{"model": Model("m", served=MODEL), "base_url": server.base_url, "timeout_s": 5.0, **how})


def reply(server: ChatServer, *said: Any, how: dict[str, Any] | None = None, **sampling: Any) -> Completion:
    engine = options(server, **(how or {})).open()
    try:
        return ask(engine, *(said or ("to be",)), **sampling)
    finally:
        engine.close()


def failure(server: ChatServer, kind: type[EngineError] = EngineError, **how: Any) -> str:
    """What an answer's error says behind the place, which is always the same."""
    with pytest.raises(kind) as caught:
        reply(server, how=how)
    where = f"engine openai ({server.base_url}): "
    assert str(caught.value).startswith(where)
    return str(caught.value).removeprefix(where)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_it_keeps_the_promises_of_an_engine_in_every_dialect(server: ChatServer, dialect: Any) -> None:
    check_engine(options(server, dialect=dialect))


def test_messages_go_out_in_their_roles_and_text_comes_back(server: ChatServer) -> None:
    answer = reply(server, system("Be brief."), "first", "First.", "to be")
    assert (answer.text, answer.finish_reason, answer.usage) == ("to be", "stop", Usage(6, 2))
    assert server.asked[0].body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "First."},
        {"role": "user", "content": "to be"},
    ]


def test_pictures_are_sent_in_their_place_and_what_cannot_be_sent_is_refused(server: ChatServer) -> None:
    shown = Message("user", (Text("This"), Image("a" * 64, 3, 2, "tea.png", b"PNG"), Text("is?")))
    body = DIALECTS["openai"].body("m", Request(prompt("Hi.", "Hello.", shown), schedule()), seeds=False)
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "Hi."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
        {"role": "user", "content": [
            {"type": "text", "text": "This"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,UE5H"}},
            {"type": "text", "text": "is?"},
        ]},
    ]  # fmt: skip
    for medium, expected in (
        (Image("a" * 64, 3, 2, "tea.png"), "prompt: tea.png: only the digest of this image is known here. Give the image again."),
        (Audio("b" * 64, 8000, 9, "bird.wav", b"FLAC"), "the engine 'openai' reads no sounds with this model: bird.wav. Choose a model that does, or have it put in words with fuse/describe."),
    ):  # fmt: skip
        with pytest.raises(EngineError) as caught:
            reply(server, Message("user", (medium,)))
        assert str(caught.value) == expected
    with pytest.raises(EngineError, match=r"^the engine 'openai' reads no images with this model: tea\.png\. Choose"):
        reply(server, shown, how={"media": ()})
    assert server.asked == []
    assert options(server).capabilities().media == {"image"}
    assert options(server, media=()).capabilities().media == frozenset()


def test_a_text_is_not_sent_to_a_server_that_would_put_a_template_around_it(server: ChatServer) -> None:
    engine = options(server).open()
    with pytest.raises(EngineError) as caught:
        asyncio.run(complete(engine, Request(Prompt((user("to be"),), plain=True), schedule())))
    engine.close()
    assert str(caught.value) == (
        f"engine openai ({server.base_url}): the server puts its model's chat template around what it is sent. "
        "Use fuse/chat (pipeline=dialogue), or an engine that runs the model here."
    )
    assert server.asked == []


def test_what_a_dialect_takes_is_sent_and_neutral_values_too(server: ChatServer) -> None:
    given = {"temperature": 0.5, "top_p": 0.9, "stop": ("x",), "max_tokens": 7}
    for dialect in ("openai", "vllm"):
        reply(server, how={"dialect": dialect}, seed=2**64 - 1, presence_penalty=0.1, **given)
    reply(server, how={"dialect": "common"}, seed=2**64 - 1, **given)
    beside = ("messages", "model", "stream", "stream_options")
    sent = [{name: value for name, value in one.body.items() if name not in beside} for one in server.asked]
    assert sent == [
        {"temperature": 0.5, "top_p": 0.9, "presence_penalty": 0.1, "frequency_penalty": 0.0, "stop": ["x"], "max_completion_tokens": 7, "seed": 2**63 - 1},
        {"temperature": 0.5, "top_p": 0.9, "presence_penalty": 0.1, "frequency_penalty": 0.0, "stop": ["x"], "max_tokens": 7, "seed": 2**63 - 1, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "min_tokens": 0, "return_token_ids": True},
        {"temperature": 0.5, "top_p": 0.9, "stop": ["x"], "max_tokens": 7, "seed": 2**63 - 1},
    ]  # fmt: skip
    assert all(one.body["stream_options"] == {"include_usage": True} and one.body["stream"] for one in server.asked)


def test_every_parameter_a_dialect_claims_is_in_what_it_sends(server: ChatServer) -> None:
    for name, dialect in DIALECTS.items():
        given = {"stop": ("x",), "stop_token_ids": (7,), "top_k": 3, "logit_bias": {5: 1.0}, "bad_words": ("x",)}
        taken = {parameter: value for parameter, value in given.items() if parameter in dialect.takes}
        sent = dialect.body(MODEL, Request(prompt("a"), schedule(**taken)), seeds=True)
        claimed = dialect.capabilities(seeds=True).sampling - {"max_tokens"} | {dialect.limit}
        assert claimed <= set(sent), name


def test_a_greedy_answer_needs_no_seed_and_a_server_can_be_spared_all(server: ChatServer) -> None:
    reply(server, temperature=0.0, seed=5)
    reply(server, temperature=1.0, seed=5, how={"seeds": False})
    assert [("seed" in one.body) for one in server.asked] == [False, False]
    assert options(server).capabilities().seeded == "best effort"
    assert options(server, seeds=False).capabilities().seeded == "no"


def test_shapes_are_sent_as_the_dialect_writes_them_and_no_other_is_taken(server: ChatServer) -> None:
    count = {"type": "object", "properties": {"n": {"type": "number", "exclusiveMinimum": 0}}, "required": ["n"]}
    schema, choices, regex = Shape.of_schema(count), Shape(choices=("a", "b")), Shape(regex="a+")
    form = {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": count | {"additionalProperties": False}},
    }
    assert written_shape(schema) == {"response_format": form}
    assert written_shape(choices) == {"structured_outputs": {"choice": ["a", "b"]}}
    assert written_shape(regex) == {"structured_outputs": {"regex": "a+"}}

    def answer(dialect: Any, shape: Shape) -> Completion:
        engine = options(server, dialect=dialect).open()
        try:
            return asyncio.run(complete(engine, Request(prompt("Hi."), schedule(), shape=shape)))
        finally:
            engine.close()

    assert [answer("vllm", one).data for one in (schema, choices, regex)] == [{"n": 1}, "a", "a"]
    assert answer("openai", schema).data == {"n": 1}
    for dialect, shape in (("openai", choices), ("openai", regex), ("common", schema)):
        with pytest.raises(EngineError) as caught:
            answer(dialect, shape)
        assert (
            str(caught.value) == f"the engine 'openai' holds no answer to a {shape.kind}. Choose engine=transformers."
        )
    server.script.append(whole('{"n": 0}'))
    assert answer("openai", schema).parsed == Parsed(
        problem="the answer does not fit its schema: n: 0 is less than or equal to the minimum of 0. Remove what ends it "
        "early, such as a stop text, or ask again."
    )


def test_token_ids_are_known_in_the_dialect_vllm_alone(server: ChatServer) -> None:
    assert reply(server).token_ids == ()
    assert len(reply(server, how={"dialect": "vllm"}).token_ids) == 2


def test_a_chunk_of_several_tokens_is_as_many_tokens(server: ChatServer) -> None:
    logprobs = {"content": [{"token": "to", "logprob": -0.5}, {"token": " be", "logprob": 0.0}]}
    server.script.append(
        Stream(
            (chunk({"content": "to be"}, token_ids=[7, 8], logprobs=logprobs, finish_reason="stop"), usage(3, 2), DONE)
        )
    )
    answer = reply(server, how={"dialect": "vllm"}, logprobs=True)
    assert (answer.text, answer.token_ids, answer.logprobs) == ("to be", (7, 8), (-0.5, 0.0))


def test_the_finish_carries_the_tokens_that_the_server_had_cached(server: ChatServer) -> None:
    told = usage(9, 1, prompt_tokens_details={"cached_tokens": 4})
    server.script.append(Stream((chunk({"content": "a"}, finish_reason="length"), told, DONE)))
    finish = _tokens(server)[-1].finish
    assert finish is not None
    assert (finish.reason, finish.usage, finish.cached_tokens) == ("length", Usage(9, 1), 4)


def test_a_server_that_counts_nothing_leaves_the_counts_unknown(server: ChatServer) -> None:
    server.usage = False
    assert reply(server).usage == Usage(None, None)
    assert reply(server, how={"dialect": "vllm"}).usage == Usage(None, 2)


def test_a_stream_may_end_without_its_last_word(server: ChatServer) -> None:
    server.script.append(Stream((chunk({"content": "a"}), chunk({}, finish_reason="stop"))))
    assert reply(server).text == "a"


def test_reasoning_is_not_part_of_the_answer(server: ChatServer) -> None:
    server.script.append(Stream((chunk({"reasoning_content": "hm"}), chunk({"content": "a"}, finish_reason="stop"))))
    assert reply(server).text == "a"


def test_half_a_surrogate_pair_travels(server: ChatServer) -> None:
    assert reply(server, "a \ud800").text == "a \ud800"


def test_a_prompt_cannot_be_counted(server: ChatServer) -> None:
    engine = options(server).open()
    with pytest.raises(EngineError) as caught:
        engine.count(prompt("a"))
    engine.close()
    assert str(caught.value) == (
        f"engine openai ({server.base_url}): the tokenizer is with the server, so no prompt can be counted here. "
        "Choose an engine that runs the model here, or do not count."
    )


def test_the_record_says_what_is_another_than_ours(server: ChatServer) -> None:
    engine = options(server, dialect="vllm").open()
    engine.close()
    assert engine.describe() == {
        "engine": "openai",
        "model": "m",
        "served": MODEL,
        "base_url": server.base_url,
        "dialect": "vllm",
        "seeded": "best effort",
        "sampler_order": "as sampling.py",
        "batch_invariant": False,
        "media": ["image"],
        "token_ids": True,
        "tools": "template",
    }


# The key


def test_the_key_is_sent_and_told_to_nobody(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    server.key = KEY
    keyed = options(server, api_key="${secret:MY_KEY}")
    engine = keyed.open()
    assert ask(engine, "to be").text == "to be"
    assert server.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(keyed) + repr(engine) + json.dumps(dict(engine.describe()))
    engine.close()
    server.key = "another"
    assert failure(server, api_key="${secret:MY_KEY}") == (
        "401: Incorrect API key provided: ***. Set the environment variable of ${secret:MY_KEY} to a key that it takes."
    )
    assert failure(server) == (
        "401: Incorrect API key provided: . It asks for a key: set engine.api_key=${secret:NAME} and the environment "
        "variable NAME."
    )


def test_without_its_variable_the_engine_does_not_open(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    assert failure(server, api_key="${secret:MY_KEY}") == (
        "${secret:MY_KEY}: the environment variable MY_KEY is not set. Set it to the secret's value. For a server that "
        "asks for none: engine.api_key=null."
    )


# What a server refuses

LONG = "This model's maximum context length is 8 tokens. However, you requested 9 tokens."
MORE = "Choose context=window, a smaller sampling.max_tokens, or a model that reads more."
TAKES = "It does not take this request: choose another engine.dialect, or leave out the parameter that it names."


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, {"error": {"message": LONG, "code": "context_length_exceeded"}}, ContextOverflow, f"400: {LONG} {MORE}"),
        (400, {"error": {"message": "max_tokens=50 cannot be greater than max_model_len=8."}}, ContextOverflow, f"400: max_tokens=50 cannot be greater than max_model_len=8. {MORE}"),
        (400, {"object": "error", "message": "min_p is unknown"}, EngineError, f"400: min_p is unknown. {TAKES}"),
        (422, {"detail": [{"loc": ["top_k"]}]}, EngineError, f'422: [{{"loc": ["top_k"]}}]. {TAKES}'),
        (404, {"error": {"message": "The model `x` does not exist."}}, EngineError, "404: The model `x` does not exist. Set model.served to a model that it has, and engine.base_url to its address, up to /v1."),
        (404, b"<html>\nnothing here", EngineError, "404. Set model.served to a model that it has, and engine.base_url to its address, up to /v1."),
        (403, {"error": "Forbidden"}, EngineError, "403: Forbidden. It asks for a key: set engine.api_key=${secret:NAME} and the environment variable NAME."),
        (307, b"", EngineError, "307. Set engine.base_url to where it moved."),
        (429, {"error": {"message": "You exceeded your quota.", "code": "insufficient_quota"}}, EngineError, "429: You exceeded your quota. Look at the account's limits; asking again does not help."),
        (400, b"x" * 1000, EngineError, f"400: {'x' * 294}…. {TAKES}"),
    ],
)  # fmt: skip
def test_what_a_server_refuses_is_told_once_with_what_would_be_right(
    server: ChatServer, status: int, body: Any, kind: type[EngineError], words: str
) -> None:
    server.script.append(Refuse(status, body))
    assert failure(server, kind) == words
    assert len(server.asked) == 1


def test_another_model_is_unknown_to_the_server(server: ChatServer) -> None:
    assert failure(server, model=Model("m", served="gpt-0")).startswith("404: The model `gpt-0` does not exist.")


# What fails in passing


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
def test_what_fails_in_passing_is_tried_again(server: ChatServer, status: int) -> None:
    server.script.extend([Refuse(status), Refuse(status)])
    assert reply(server).text == "to be"
    assert len(server.asked) == 3
    assert server.asked[0].body == server.asked[2].body


def test_a_stream_that_ends_before_its_first_token_is_tried_again(server: ChatServer) -> None:
    server.script.extend([Stream((), "cut"), Stream((chunk({"role": "assistant", "content": ""}),), "cut")])
    assert reply(server).text == "to be"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (Refuse(429, {"error": {"message": "Slow down."}}), "429: Slow down. Lower engine.max_in_flight, or raise engine.retries."),
        (Refuse(503, b""), "503. Ask again later, or raise engine.retries."),
        (Stream((), "cut"), "the connection broke off: RemoteProtocolError: peer closed connection without sending complete message body (incomplete chunked read). Ask again."),
        (Stream((DONE,)), "the stream ended before the answer began, without a finish. Ask again."),
        (Stream((json.dumps({"error": {"message": "out of memory"}}),)), "it broke the answer off: out of memory. Ask again."),
    ],
)  # fmt: skip
def test_what_does_not_pass_is_told_in_the_end(server: ChatServer, what: Any, words: str) -> None:
    server.script.extend([what] * 3)
    assert failure(server, retries=2) == words
    assert len(server.asked) == 3


def test_waits_grow_and_are_never_shorter_than_the_server_asks(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(live, "FIRST_WAIT_S", 0.5)
    monkeypatch.setattr(live.asyncio, "sleep", sleep)
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    waits = ("0", "7", soon, "whenever")
    server.script.extend([Refuse(429, b"", (("Retry-After", one),)) for one in waits])
    assert reply(server).text == "to be"
    first, second, third, fourth = (one for one in slept if one)
    assert 0.25 <= first <= 0.5
    assert second == 7
    assert 20 < third <= 30
    assert 2 <= fourth <= 4


def test_a_server_that_asks_to_wait_for_long_has_failed(server: ChatServer) -> None:
    server.script.append(Refuse(429, {"error": {"message": "Come back."}}, (("Retry-After", "3600"),)))
    assert failure(server) == (
        "429: Come back. Lower engine.max_in_flight, or raise engine.retries. It asks to wait 3600 s, and 60 s is the most."
    )


def test_without_a_server_there_is_no_connection() -> None:
    with serving() as gone:
        pass
    assert failure(gone, retries=0) == (
        "no connection: ConnectError: All connection attempts failed. Start the server, or set engine.base_url to where "
        "it is."
    )


def test_a_silent_server_is_given_up(server: ChatServer) -> None:
    server.script.append(Stream((chunk({"content": "a"}),), "wait"))
    words = "it was silent for 0.2 s. Raise engine.timeout_s, or lower engine.max_in_flight."
    assert failure(server, timeout_s=0.2) == words


# What breaks in the middle


def test_a_stream_that_breaks_in_the_middle_is_an_error_and_not_begun_again(server: ChatServer) -> None:
    server.script.append(Stream((chunk({"content": "a"}),), "cut"))
    assert failure(server).startswith("the connection broke off: RemoteProtocolError: peer closed connection")
    server.script.append(Stream((chunk({"content": "a"}), DONE)))
    assert failure(server) == "the stream ended after 1 pieces of text, without a finish. Ask again."
    server.script.append(Stream((chunk({"content": "a"}), json.dumps({"error": "overloaded"}))))
    assert failure(server) == "it broke the answer off: overloaded. Ask again."
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "event",
    ["{no json", "[]", "3", '{"choices": [3]}', '{"choices": [{"delta": "a"}]}', '{"choices": 3}', '{"usage": 3}'],
)
def test_what_is_no_chunk_is_told(server: ChatServer, event: str) -> None:
    server.script.append(Stream((event,)))
    assert failure(server) == (
        f"it streams what is no chunk of an answer: {event}. Set engine.base_url to a server that speaks as OpenAI's does."
    )


def test_a_page_is_no_stream(server: ChatServer) -> None:
    server.script.append(Stream(("x",), content_type="text/html"))
    assert failure(server) == (
        "SSEError: Expected response with content type 'text/event-stream', got 'text/html'. Set engine.base_url to a "
        "server's address, up to /v1."
    )


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ((chunk({"content": "a"}, finish_reason="content_filter"),), "its content filter held the answer back. Change the prompt."),
        ((chunk({"refusal": "I will not."}),), "the model refuses: I will not. Change the prompt."),
        ((chunk({}, finish_reason="function_call"),), "it ended the answer with 'function_call', where stop or length is known. Choose engine.dialect=common."),
        ((chunk({"content": "a"}, finish_reason="stop"), usage(1, 300)), "it wrote 300 tokens, where 256 were allowed: it does not know max_completion_tokens. Choose engine.dialect=common."),
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_told(server: ChatServer, events: tuple[str, ...], words: str) -> None:
    server.script.append(Stream((*events, DONE)))
    assert failure(server) == words


def test_a_server_that_ignores_what_it_is_asked_for_is_found_out(server: ChatServer) -> None:
    server.script.extend([whole("a"), whole("a")])
    assert failure(server, dialect="vllm") == (
        "it streams no token ids, as a vLLM server would. Choose engine.dialect=common."
    )
    with pytest.raises(EngineError) as caught:
        reply(server, logprobs=True)
    assert str(caught.value).endswith("it streams no log-probabilities. Remove `logprobs`, or choose another engine.")


# Many at once, from many loops, left early


def test_so_many_requests_are_in_flight_and_no_more(server: ChatServer) -> None:
    engine = options(server, max_in_flight=3).open()
    server.together = 3

    async def many() -> list[str]:
        async def one(place: int) -> str:
            return "".join([token.text async for token in engine.generate(Request(prompt(f"no {place}"), schedule()))])

        return list(await asyncio.gather(*map(one, range(20))))

    assert asyncio.run(many()) == [f"no {place}" for place in range(20)]
    assert server.most_in_flight == 3
    engine.close()


def test_it_serves_several_event_loops_at_once(server: ChatServer) -> None:
    engine = options(server).open()

    def loop(place: int) -> list[str]:
        async def ten() -> list[str]:
            streams = [engine.generate(Request(prompt(f"{place} {n}"), schedule())) for n in range(10)]
            return list(await asyncio.gather(*map(_text, streams)))

        return asyncio.run(ten())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(loop, range(4))) == [[f"{place} {n}" for n in range(10)] for place in range(4)]
    engine.close()


@pytest.mark.parametrize("how", ["close", "cancel"])
def test_leaving_an_answer_closes_the_connection(server: ChatServer, how: str) -> None:
    engine = options(server, max_in_flight=1).open()
    server.script.append(Stream((chunk({"content": "a"}),), "wait"))

    async def leave() -> None:
        stream = engine.generate(Request(prompt("x"), schedule()))
        if how == "close":
            assert (await anext(stream)).text == "a"
            await stream.aclose()
        else:
            task = asyncio.create_task(_text(stream))
            await asyncio.sleep(0.1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    assert server.left.acquire(timeout=5)
    assert ask(engine, "to be").text == "to be"  # its place is free again
    engine.close()


def test_closing_the_engine_ends_what_is_in_flight(server: ChatServer) -> None:
    engine = options(server).open()
    server.script.append(Stream((chunk({"content": "a"}),), "wait"))

    async def ask_and_close() -> None:
        stream = engine.generate(Request(prompt("x"), schedule()))
        await anext(stream)
        await asyncio.to_thread(engine.close)
        await anext(stream)

    with pytest.raises(EngineError) as caught:
        asyncio.run(ask_and_close())
    assert str(caught.value) == "the engine was closed before the answer was complete. Open a new one."
    with pytest.raises(EngineError, match="the engine was closed"):
        ask(engine, "x")
    assert server.left.acquire(timeout=5)


def test_the_first_token_is_there_before_the_second_is_made(server: ChatServer) -> None:
    server.script.append(Stream((chunk({"content": "a"}),), "wait"))
    engine, started = options(server).open(), time.monotonic()

    async def first() -> Token:
        stream = engine.generate(Request(prompt("x"), schedule()))
        token = await anext(stream)
        await stream.aclose()
        return token

    assert asyncio.run(first()).text == "a"
    assert time.monotonic() - started < 4  # and not the timeout_s of the next one
    engine.close()


# As a whole


def test_a_run_answers_and_its_record_holds_no_key(
    server: ChatServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MY_KEY", KEY)
    server.key = KEY
    words = ["model=gpt", f"model.served={MODEL}", f"engine.base_url={server.base_url}", "input.text=to be"]
    assert main([*words, "engine.api_key=${secret:MY_KEY}"]) == 0
    assert capsys.readouterr().out == "to be\n"
    written = [path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()]
    assert any('"served": "parrot"' in text for text in written)
    assert not any(KEY in text for text in written)


def test_the_preset_passes_check_without_a_network_and_a_run_without_the_key_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main(["check", "model=gpt"]) == 0
    assert main(["check", "model=gpt", "sampling=greedy"]) == 0
    capsys.readouterr()
    assert main(["model=gpt", "input.text=hi"]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "vllm-flow: engine openai (https://api.openai.com/v1): ${secret:OPENAI_API_KEY}: the environment variable "
        "OPENAI_API_KEY is not set. Set it to the secret's value. For a server that asks for none: engine.api_key=null."
    )


# Options


def test_options_say_what_is_wrong_with_them() -> None:
    sound = OpenAI(Model("m", served="x"))
    wrong = {
        ("model", Model("m", package="smollm2")): "nothing says what the server calls the model. Give model.served=NAME, or model=gpt.",
        ("base_url", "localhost:8000"): "it is no address. Write one such as http://127.0.0.1:8000/v1.",
        ("base_url", "http://a:99999/v1"): "it is no address. Write one such as http://127.0.0.1:8000/v1.",
        ("base_url", "http://me:pass@a/v1"): "it holds a user's name, which would be written into every record. Leave it out; a key goes to api_key.",
        ("base_url", "http://a/v1?key=3"): "it has something behind the path. Leave out what follows the ? or #.",
        ("api_key", KEY): "the key is written out. Write ${secret:NAME} and set the environment variable NAME.",
    }  # fmt: skip
    assert list(sound.problems()) == []
    for (name, value), problem in wrong.items():
        (found,) = dataclasses.replace(sound, **{name: value}).problems()
        assert not isinstance(found, str)
        assert (found.path, found.problem) == ((name,), problem)


def test_a_missing_package_is_told_by_check_and_by_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm_flow.engines.openai import options as module

    monkeypatch.setattr(module, "CLIENT", "no_such_package")
    problem = "the package httpx2 is not installed. Install it: pip install 'vllm-flow[openai]'."
    assert list(OpenAI(Model("m", served="x")).problems()) == [problem]


def test_a_model_is_called_by_its_name_on_the_hub_unless_it_is_served_under_another() -> None:
    assert OpenAI(Model("m", hub="a/b")).served == "a/b"
    assert OpenAI(Model("m", hub="a/b", served="c")).served == "c"


def _tokens(server: ChatServer) -> list[Token]:
    engine = options(server).open()

    async def collect() -> list[Token]:
        return [token async for token in engine.generate(Request(prompt("x"), schedule()))]

    try:
        return asyncio.run(collect())
    finally:
        engine.close()


async def _text(stream: Any) -> str:
    return "".join([token.text async for token in stream])
