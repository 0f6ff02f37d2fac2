"""The check of stages: what breaks a promise is told so, and what does not fit is told before anything runs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from vllm_flow.core.errors import EngineError
from vllm_flow.core.messages import Text
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine
from vllm_flow.core.values import Completion, Request, Turn
from vllm_flow.testing import EchoEngine, MemoryStore, check_stage, completion, prompt, schedule, turn

from .broken_stages import BROKEN, FINE, Counts, Fine


@pytest.mark.parametrize(("part", "values", "said"), BROKEN)
def test_a_stage_that_breaks_a_promise_is_told_so(part: Any, values: dict[str, Any], said: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_stage(part, **values)
    assert str(caught.value) == said


@pytest.mark.parametrize(("part", "values"), FINE)
def test_a_stage_that_keeps_its_promises_passes(part: Any, values: dict[str, Any]) -> None:
    check_stage(part, **values)


def test_it_gives_the_value_of_the_first_run() -> None:
    assert check_stage(Fine(), turn=turn("hi"), reply=None) == Text("hi")
    store = MemoryStore()
    with pytest.raises(AssertionError):
        check_stage(Counts(), turn=turn("hi"), store=store)
    assert len(store.turns("test")) == 2


def test_what_a_function_made_is_made_for_each_run_and_closed_afterwards() -> None:
    made: list[Noted] = []

    class Noted(MemoryStore):
        closed = False

        def __init__(self) -> None:
            super().__init__()
            made.append(self)

        def close(self) -> None:
            self.closed = True

    check_stage(Counts(), turn=turn("hi"), store=Noted)
    assert [one.closed for one in made] == [True, True]


def test_what_run_raises_comes_as_it_is() -> None:
    @stage("broken/raises")
    @dataclass(frozen=True)
    class Raises:
        """Fails."""

        def run(self, turn: Turn) -> Text:
            raise EngineError("the engine is full. Come back later.")

    with pytest.raises(EngineError, match=r"^the engine is full\. Come back later\.$"):
        check_stage(Raises(), turn=turn("hi"))


def test_a_blocking_stage_runs_in_a_thread_and_an_async_one_is_awaited() -> None:
    @stage("broken/blocking", blocking=True)
    @dataclass(frozen=True)
    class Blocking:
        """Says whether a loop runs where it does."""

        def run(self, turn: Turn) -> Text:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return Text("a thread")
            return Text("a loop")

    @stage("broken/asking")
    @dataclass(frozen=True)
    class Asking:
        """Says what the engine said."""

        async def run(self, turn: Turn, engine: Engine) -> Text:
            said = [token.text async for token in engine.generate(Request(prompt(turn.text), schedule()))]
            return Text("".join(said))

    assert check_stage(Blocking(), turn=turn("hi")) == Text("a thread")
    assert check_stage(Asking(), turn=turn("to be"), engine=EchoEngine()) == Text("to be")


def test_an_empty_tuple_fits_every_tuple() -> None:
    @stage("broken/first")
    @dataclass(frozen=True)
    class First:
        """The first of many."""

        def run(self, replies: tuple[Completion, ...]) -> Completion | None:
            return next(iter(replies), None)

    assert check_stage(First(), replies=()) is None
    assert check_stage(First(), replies=(completion("a"), completion("b"))) == completion("a")
