"""What a session answers, to whom, in which order, and what it refuses."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import vllm_flow
from tests import fakes
from vllm_flow import Session, Text, Turn, assistant, cli, user
from vllm_flow.core.errors import ConfigError, EngineError, FlowError, InputError, ModelError
from vllm_flow.core.registry import resource, stage
from vllm_flow.core.results import TurnFailed
from vllm_flow.engines import Echo, EchoEngine
from vllm_flow.testing import prompt

from .conftest import fake, rows

OPENED: list[str] = []


@resource("test/slow", shared=True)
@dataclass(frozen=True)
class Slow(Echo):
    """An engine that takes its time to open."""

    def open(self) -> EchoEngine:
        time.sleep(0.1)
        OPENED.append("slow")
        return EchoEngine()


@stage("test/inside")
@dataclass(frozen=True)
class Inside:
    """Does what a stage must not: calls its own session, or ends the program."""

    def run(self, turn: Turn) -> Text:
        if turn.text == "exit":
            raise SystemExit(3)
        return Text(SESSIONS[0].run("me too").text)


SESSIONS: list[Session] = []


def texts(session: Session, conversation: str) -> list[str]:
    return [stored.turn.text for stored in session.opened("store").turns(conversation)]


def test_texts_are_turns_of_one_conversation_unless_another_is_named(echo: Session) -> None:
    assert echo.run("My name is Ann.").text == "My name is Ann."
    second = echo.run("What is my name?")
    other = echo.run("And here?", conversation="other")
    assert [(one.turn.conversation, one.turn.number) for one in (second, other)] == [("text", 2), ("other", 1)]
    echo.conversation = "afresh"
    assert echo.run("Hello").turn.conversation == "afresh"
    assert texts(echo, "text") == ["My name is Ann.", "What is my name?"]


def test_a_text_is_scored_by_itself_or_after_a_prompt_and_is_no_turn(echo: Session) -> None:
    assert echo.score("to be").perplexity == 1
    assert echo.score("to be", "to be or not").logprobs == (0.0, 0.0)
    assert echo.score("or not", prompt("to be")).perplexity == math.inf
    ids = echo.score("to be").token_ids
    assert asyncio.run(echo.ascore(ids, "to be")).logprob == 0
    assert texts(echo, "text") == []
    with pytest.raises(FlowError) as caught:
        echo.score("to be", engine="judge")
    assert str(caught.value) == "session.score: the pipeline reads no engine 'judge'. It reads: engine."


def test_an_engine_that_does_not_score_says_so_by_its_name_in_a_call_and_in_a_pipeline() -> None:
    with fake() as session, pytest.raises(EngineError) as caught:
        session.score("to be")
    told = "the engine 'fake' does not score texts. Choose another, such as engine=transformers."
    assert str(caught.value) == told
    with pytest.raises(ConfigError) as refused:
        fake({"rating": {"use": "score/given"}}, "rating")
    assert [str(fault) for fault in refused.value.faults] == [
        "graph.rating: the engine does not score texts. Choose another, such as engine=transformers."
    ]


def test_a_pipeline_rates_the_text_of_a_turn_as_the_answer_to_its_history() -> None:
    with vllm_flow.load("perplexity", ["engine=echo"], record=False) as session:
        assert session.run("to be").text == "perplexity 1 over 2 tokens"
        asked = Turn("c", user("to be"), (user("to go"),))
        assert session.run(asked).value.logprobs == (0.0, -math.inf)


def test_a_message_and_a_turn_are_asked_as_they_are(echo: Session) -> None:
    assert echo.run(user("Hello")).turn == Turn("text", user("Hello"), number=1)
    turn = Turn("kept", user("And?"), (user("One"), assistant("Two")), number=7, sample=2)
    assert echo.run(turn).turn == replace(turn, index=1)


def test_a_list_is_a_batch_of_conversations_and_with_a_name_one_conversation(echo: Session) -> None:
    batch = echo.run(["a", user("b"), Turn("c", user("c"))])
    assert [(one.text, one.turn.conversation, one.turn.number) for one in batch] == [
        ("a", "row-1", 1), ("b", "row-2", 1), ("c", "c", 1),
    ]  # fmt: skip
    assert [one.turn.number for one in echo.run((text for text in "xyz"), "text")] == [1, 2, 3]
    assert texts(echo, "text") == ["x", "y", "z"]
    assert [one.turn.conversation for one in echo.run(["again"])] == ["row-7"]
    assert echo.run([]) == []


def test_nothing_given_is_the_configured_input(echo: Session) -> None:
    assert [one.text for one in echo.run()] == [
        "What is the capital of France?", "Name one famous building in that city.", "Why do so many people visit it?",
    ]  # fmt: skip


def test_python_and_the_command_leave_the_same_results(place: Path) -> None:
    words = ["model=custom", "sampling.max_tokens=6", "sampling.temperature=1.0"]
    (place / "rows.jsonl").write_text(
        '{"messages": [{"role": "user", "content": "One"}]}\n{"messages": [{"role": "user", "content": "Two"}]}\n',
        encoding="utf-8",
    )
    assert cli.main([*words, "input.text=Hello there", "hydra.run.dir=one"]) == 0
    assert cli.main([*words, "input.path=rows.jsonl", "hydra.run.dir=many"]) == 0
    with vllm_flow.Engines() as engines:
        with vllm_flow.load(overrides=words, engines=engines, record="one-too") as session:
            session.run("Hello there")
        with vllm_flow.load(overrides=words, engines=engines, record="many-too") as session:
            session.run(["One", "Two"])
    for name in ("one", "many"):
        assert rows(place / name / "results.jsonl") == rows(place / f"{name}-too" / "results.jsonl")


def test_one_turn_without_an_answer_raises_and_in_a_batch_it_is_a_result() -> None:
    with fake() as session:
        with pytest.raises(TurnFailed) as caught:
            session.run("fail")
        said = "graph.reply (infer/generate): the engine refuses this. Ask something else."
        assert str(caught.value) == f"turn 1 of text: {said}"
        assert caught.value.result.failure is not None
        good, bad = session.run(["one", "fail"])
        assert good.text == "one "
        assert bad.failure is not None
        assert (bad.failure.kind, bad.failure.message) == ("EngineError", said)
        with pytest.raises(TurnFailed, match=r"^turn 1 of row-2: graph\.reply"):
            _ = bad.text


def test_an_item_that_cannot_be_asked_costs_that_item(echo: Session) -> None:
    results = echo.run(["a", " ", None, "b"])  # type: ignore[list-item]
    assert [one.failure and one.failure.message for one in results] == [
        None,
        "session.run: item 2: it is empty. Write what the user says.",
        "session.run: item 3: null is neither a text nor a Message nor a Turn. Give one of them.",
        None,
    ]


@pytest.mark.parametrize(
    ("said", "conversation", "words"),
    [
        ("", None, "it is empty. Write what the user says."),
        (assistant("Hi"), None, "the message is from the assistant. Give the user's; others are a turn's history."),
        ("a", " ", "the conversation has no name. Give it one, or leave `conversation` out."),
        (Turn("c", user("a")), "d", "the turn names its own conversation, 'c'. Leave `conversation` out."),
        (7, None, "7 is neither a text nor a Message nor a Turn. Give one of them, or a list of them."),
        ({"a": 1}, None, "{'a': 1} is neither a text nor a Message nor a Turn. Give one of them, or a list of them."),
        (b"a", None, "b'a' is neither a text nor a Message nor a Turn. Give one of them, or a list of them."),
        (None, "a", "the input names its own conversations. Leave `conversation` out."),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(echo: Session, said: Any, conversation: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        echo.run(said, conversation)
    assert str(caught.value) == f"session.run: {words}"
    assert echo.opened("store") is None  # nothing was begun


def test_blocking_and_awaited_calls_mix_inside_a_running_loop(echo: Session) -> None:
    async def notebook() -> list[str]:
        first = echo.run("one").text
        second = (await echo.arun("two")).text
        both = await asyncio.gather(echo.arun("three"), echo.arun(["four", "five"]))
        return [first, second, both[0].text, *(one.text for one in both[1])]

    assert asyncio.run(notebook()) == ["one", "two", "three", "four", "five"]
    assert texts(echo, "text") == ["one", "two", "three"]


def test_the_turns_of_a_conversation_come_one_after_another_from_however_many_threads(echo: Session) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(echo.run, [f"t{place}" for place in range(60)]))
    assert sorted(one.turn.number or 0 for one in results) == list(range(1, 61))
    assert all(one.text == one.turn.text for one in results)


def test_the_bound_of_turns_in_flight_is_one_for_all_calls() -> None:
    resources = {**fakes_resources(), "engine": {"use": "fake/engine", "delay_s": 0.01}}

    async def many(session: Session) -> None:
        await asyncio.gather(session.arun([f"a{i}" for i in range(9)]), *(session.arun("x", f"c{i}") for i in range(9)))

    with fake(resources=resources, concurrency=4) as session:
        asyncio.run(many(session))
    assert fakes.LOG.most_in_flight == 4


def fakes_resources() -> Mapping[str, Any]:
    return {"store": {"use": "store/memory"}}


def test_sessions_that_share_engines_open_a_model_once_even_at_the_same_moment() -> None:
    OPENED.clear()
    resources = {**fakes_resources(), "engine": Slow()}
    with vllm_flow.Engines() as engines, ThreadPoolExecutor(2) as pool:
        sessions = [fake(resources=resources, engines=engines, seed=seed) for seed in (1, 2)]
        assert [one.text for one in pool.map(lambda session: session.run("hi"), sessions)] == ["hi", "hi"]
        for session in sessions:
            session.close()
    assert OPENED == ["slow"]


def test_a_cancelled_call_is_stored_as_interrupted_when_it_returns() -> None:
    async def stopped(session: Session) -> None:
        call = asyncio.create_task(session.arun("one wait"))
        while not fakes.LOG.in_flight:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # the two tokens it has are said at once
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    with fake() as session:
        asyncio.run(stopped(session))
        (turn,) = session.opened("store").turns("text")
        assert (turn.reply.text, turn.reply.finish_reason) == ("one wait ", "interrupted")
        assert session.run("next").turn.number == 2


def test_faults_are_told_together_and_nothing_is_opened_or_written(place: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        vllm_flow.load("dialogue", ["graph.prompt.use=fuse/chatt", "sampling.temperature=-1"])
    first, second = str(caught.value).splitlines()
    assert first.startswith(
        "graph.prompt.use (command line): there is no stage 'fuse/chatt'. Did you mean 'fuse/chat'?"
    )
    assert second == "sampling.temperature (command line): -1 does not fit. It takes a number of 0 or more."
    with pytest.raises(
        ConfigError, match=r"^pipeline \(command line\): there is no 'dialog'\. Did you mean 'dialogue'\?"
    ):
        vllm_flow.load("dialog")
    assert list(place.iterdir()) == []


def test_loading_opens_nothing_and_one_override_needs_no_list(place: Path) -> None:
    before = threading.active_count()
    session = vllm_flow.load("dialogue", "engine=echo")
    assert (session.spec.resources["engine"], session.pipeline.graph.output) == ({"use": "engine/echo"}, "reply")
    assert (threading.active_count(), list(place.iterdir()), session.opened("store")) == (before, [], None)
    session.open()
    assert session.opened("engine").describe() == {"engine": "echo", "model": "echo"}
    session.close()


def test_a_closed_session_says_so_and_may_be_closed_again(echo: Session) -> None:
    echo.run("Hello")
    stream = echo.stream("Hello")
    echo.close()
    echo.close()
    asyncio.run(echo.aclose())
    for late in (lambda: echo.run("Hello"), lambda: asyncio.run(echo.arun("Hello")), lambda: list(stream)):
        with pytest.raises(FlowError, match=r"^the session is closed. Load another with vllm_flow.load\(…\).$"):
            late()


def test_closing_stops_what_is_in_flight_and_tells_its_caller() -> None:
    session = fake()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(session.run, "one wait")
        while not fakes.LOG.in_flight:
            time.sleep(0.01)
        session.close()
        with pytest.raises(
            FlowError, match=r"^the session was closed before this was done\. Close it when its calls have returned\.$"
        ):
            call.result()
    assert fakes.LOG.in_flight == 0


def test_set_goes_on_with_the_conversation_and_what_cannot_be_done_changes_nothing() -> None:
    with vllm_flow.load("dialogue", ["engine=echo", "model.path=nowhere"], record=False) as session:
        session.run("one two three")
        session.set("sampling.max_tokens=1")
        assert session.run("four five").text == "four"
        before = session.spec
        with pytest.raises(ConfigError, match=r"^sampling\.max_tokens \(command line\): 0 does not fit"):
            session.set("sampling.max_tokens=0")
        with pytest.raises(ModelError, match="nowhere"):
            session.set("engine=transformers")
        assert (session.spec, session.run("six seven").text) == (before, "six")
        session.set("sampling.max_tokens=2")
        assert session.run("eight nine ten").text == "eight nine"
        assert texts(session, "text") == ["one two three", "four five", "six seven", "eight nine ten"]


def test_set_is_refused_while_a_turn_is_answered_and_without_files() -> None:
    with fake() as session, pytest.raises(FlowError) as caught:
        session.set("sampling.max_tokens=1")
    assert str(caught.value) == (
        "session.set: the session was built without files, so there is nothing to override. "
        "Build another; with the same `engines` a model stays loaded."
    )
    spec = session.spec
    with Session(spec, record=False, compose=lambda words: spec) as session:
        for _ in session.stream("one wait"):
            with pytest.raises(FlowError) as caught:
                session.set("seed=1")
            break
    assert str(caught.value) == "seed=1: a turn is being answered. Wait for it, or stop it, and set this again."


def test_a_stage_that_calls_its_own_session_or_exits_harms_only_its_turn() -> None:
    with fake({"reply": Inside()}, resources={}) as session:
        SESSIONS[:] = [session]
        with pytest.raises(TurnFailed, match=r"a stage of the session called it, and both would wait for ever. Use"):
            session.run("call")
        with pytest.raises(SystemExit):
            session.run("exit")
        with pytest.raises(TurnFailed):
            session.run("call")
    SESSIONS.clear()
