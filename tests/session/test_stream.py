"""One answer as it is made: pieces, the result behind them, and what becomes of a loop that is left."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

import vllm_flow
from tests import fakes
from vllm_flow import Session
from vllm_flow.core.errors import FlowError
from vllm_flow.core.results import TurnFailed

from .conftest import fake

UNREAD = r"^stream.result: the answer has not been read to its end. Loop over the stream first.$"


def reply(session: Session, conversation: str = "text") -> tuple[str, str]:
    """The last stored reply: its text, and how it ended."""
    last = session.opened("store").turns(conversation)[-1].reply
    return (last.text, last.finish_reason)


def test_pieces_come_one_by_one_and_then_there_is_the_result(echo: Session) -> None:
    stream = echo.stream("one two three")
    with pytest.raises(FlowError, match=UNREAD):
        _ = stream.result
    assert list(stream) == ["one", " two", " three"]
    assert (stream.result.text, stream.result.turn.number) == ("one two three", 1)
    assert list(stream) == []


def test_the_same_stream_is_looped_over_with_async_for(echo: Session) -> None:
    async def notebook() -> list[str]:
        stream = echo.stream("one two", conversation="other")
        pieces = [piece async for piece in stream]
        return [*pieces, stream.result.text]

    assert asyncio.run(notebook()) == ["one", " two", "one two"]


def test_pieces_are_live_and_not_kept_back_until_the_end() -> None:
    with fake() as session:
        stream = iter(session.stream("one wait"))
        assert [next(stream), next(stream)] == ["one ", "wait "]
        assert fakes.LOG.in_flight == 1


def test_what_makes_no_live_tokens_comes_as_one_piece() -> None:
    with vllm_flow.load("best_of", ["engine=echo", "sampling.n=3"], record=False) as session:
        stream = session.stream("one two")
        assert list(stream) == ["one two"]
        assert stream.result.text == "one two"


def test_a_failure_is_raised_behind_what_was_said() -> None:
    with fake() as session:
        stream = session.stream("one crash")
        pieces = iter(stream)
        assert [next(pieces), next(pieces)] == ["one ", "crash "]
        with pytest.raises(TurnFailed, match=r"^turn 1 of text: graph\.reply \(infer/generate\): ValueError: boom$"):
            next(pieces)
        assert stream.result.failure is not None


def test_leaving_a_loop_interrupts_the_turn_and_stores_what_was_said() -> None:
    with fake() as session:
        stream = session.stream("one wait")
        for piece in stream:
            if piece == "wait ":
                break
        assert (fakes.LOG.in_flight, reply(session)) == (0, ("one wait ", "interrupted"))
        with pytest.raises(FlowError, match=UNREAD):
            _ = stream.result
        assert session.run("next").turn.number == 2


def test_leaving_an_async_loop_interrupts_the_turn_too() -> None:
    async def leave(session: Session) -> None:
        async for piece in session.stream("one wait"):
            if piece == "wait ":
                break
        gc.collect()
        while fakes.LOG.in_flight:
            await asyncio.sleep(0.01)

    with fake() as session:
        asyncio.run(leave(session))
        assert reply(session) == ("one wait ", "interrupted")


def test_cancelling_the_task_that_loops_interrupts_the_turn() -> None:
    async def cancelled(session: Session) -> None:
        heard = asyncio.Event()

        async def listen() -> None:
            async for piece in session.stream("one wait"):
                if piece == "wait ":
                    heard.set()

        listening = asyncio.create_task(listen())
        await heard.wait()
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        assert reply(session) == ("one wait ", "interrupted")

    with fake() as session:
        asyncio.run(cancelled(session))


def test_a_stream_keeps_its_session_and_lets_it_go() -> None:
    stream = fake().stream("one two")
    gc.collect()
    assert list(stream) == ["one ", "two "]
    del stream
    gc.collect()
    assert fakes.LOG.closed == ["fake"]


def test_a_stream_that_nobody_reads_asks_nothing(echo: Session) -> None:
    echo.stream("Hello")
    assert echo.opened("store") is None


def test_a_real_model_streams_what_it_answers_and_can_be_stopped() -> None:
    words = ["model=custom", "sampling.max_tokens=12"]
    with vllm_flow.load("dialogue", words, record=False) as session:
        stream = session.stream("Hello")
        pieces = list(stream)
        assert len(pieces) > 1
        assert "".join(pieces) == stream.result.text
        assert session.run("Hello", "again").value.finish_reason in ("stop", "length")
        session.set("sampling.max_tokens=1900")
        session.set("sampling.min_tokens=1900")
        started = time.monotonic()
        for place, _ in enumerate(session.stream("Tell me all", "long")):
            if place == 3:
                break
        assert time.monotonic() - started < 5
        text, ended = reply(session, "long")
        assert ended == "interrupted"
        assert text
