"""Asking an engine: in a plain test, inside an event loop, again and again, and when something ends the loop."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import threading
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from vllm_flow.core.errors import EngineError
from vllm_flow.core.messages import assistant, user
from vllm_flow.core.values import Request, Token
from vllm_flow.engines.echo import Echo
from vllm_flow.testing import EchoEngine, ask, check_engine, check_stage, prompt, schedule
from vllm_flow.testing.asking import Late, Loop

NAME = contextvars.ContextVar("NAME", default="nobody")


def test_an_answer_is_the_completion_that_the_framework_would_make() -> None:
    answer = ask(EchoEngine(), "first", "well", "to be", logprobs=True, max_tokens=1)
    assert (answer.text, answer.finish_reason, answer.logprobs) == ("to", "length", (0.0,))
    assert answer.usage.prompt_tokens == 4


def test_what_is_asked_reaches_the_engine() -> None:
    asked: list[Request] = []

    class Noted(EchoEngine):
        async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
            asked.append(request)
            async for token in super().generate(request):
                yield token

    ask(Noted(), user("a"), assistant("b"), "c", seed=7, sample=2, logprobs=True, temperature=0.5)
    assert asked == [Request(prompt("a", "b", "c"), schedule(temperature=0.5), 7, 2, True)]


def test_it_may_be_asked_inside_an_event_loop_and_sees_the_context_of_the_test() -> None:
    from vllm_flow.stages.fuse import Chat
    from vllm_flow.testing import context, turn

    class Named(EchoEngine):
        async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
            async for token in super().generate(Request(prompt(NAME.get()), request.schedule)):
                yield token

    async def test() -> str:
        NAME.set("ann")
        check_engine(Echo())
        check_stage(Chat(), turn=turn("hi"), context=context())
        return ask(Named(), "hi").text

    assert asyncio.run(test()) == "ann"


def test_an_engine_that_clings_to_its_first_loop_can_be_asked_twice() -> None:
    class Clinging(EchoEngine):
        loop: Any = None

        async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
            self.loop = self.loop or asyncio.get_running_loop()
            assert not self.loop.is_closed()
            assert self.loop is asyncio.get_running_loop()
            async for token in super().generate(request):
                yield token

    engine = Clinging()
    assert [ask(engine, text).text for text in ("a", "b")] == ["a", "b"]


@pytest.mark.parametrize("in_a_task", [True, False])
def test_what_the_engine_raises_comes_as_it_is_even_what_ends_a_loop(in_a_task: bool) -> None:
    class Raises(EchoEngine):
        def __init__(self, error: BaseException) -> None:
            self.error = error

        async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
            await (asyncio.create_task(self.fail()) if in_a_task else self.fail())
            yield Token(0, "")

        async def fail(self) -> None:
            raise self.error

    for error in (
        EngineError("full"),
        TimeoutError("slow"),
        SystemExit(3),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
    ):
        with pytest.raises(type(error)) as caught:
            ask(Raises(error), "hi")
        assert caught.value is error or isinstance(error, asyncio.CancelledError)  # a task raises another
        assert ask(EchoEngine(), "again").text == "again"


@pytest.mark.skipif(os.name != "posix", reason="no signal interrupts a test elsewhere")
def test_a_test_that_is_interrupted_leaves_no_loop_blocked_for_the_next_one() -> None:
    released = threading.Event()

    class Blocks(EchoEngine):
        async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
            released.wait(60)
            yield Token(0, "")

    def interrupt(*_: object) -> None:
        raise InterruptedError("the test has had its time")

    before = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(InterruptedError):
            ask(Blocks(), "hi")
        assert ask(EchoEngine(), "again").text == "again"
    finally:
        released.set()
        timer.join()
        signal.signal(signal.SIGUSR1, before)


def test_options_are_no_engine() -> None:
    with pytest.raises(AssertionError) as caught:
        ask(Echo(), "hi")  # type: ignore[arg-type]
    assert str(caught.value) == "Echo has no close, count, describe, generate. Give what its open() gives."


def test_a_loop_cancels_what_is_late_and_goes_on() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append("slow")

    async def quick() -> int:
        return 7

    with Loop() as loop:
        with pytest.raises(Late):
            loop.run(slow(), 0.05)
        assert ended == ["slow"]
        assert loop.run(quick(), 60) == 7
        assert loop.alive
    assert not loop.alive
    assert not loop.blocked


def test_a_timeout_of_the_work_itself_is_not_ours() -> None:
    async def slow() -> None:
        raise TimeoutError("the server took too long")

    with Loop() as loop, pytest.raises(TimeoutError, match=r"^the server took too long$"):
        loop.run(slow(), 60)
