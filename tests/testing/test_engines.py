"""The check of engines: each promise is broken by an engine that is made to break it and nothing else."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fakes import BellOptions
from vllm_flow.core.errors import EngineError, ModelError
from vllm_flow.core.resources import Capabilities
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.values import Request, Token
from vllm_flow.engines.echo import Echo
from vllm_flow.testing import EchoEngine, check_engine, engine_promises, prompt
from vllm_flow.testing.engine_promises import TAME

from .broken_engines import BROKEN, ENGINES, Broken, ClosesOnce

SHORT_S = 0.3
"""For what hangs. All else has the usual time, however busy the machine is."""
LATE = f"it was not done after {SHORT_S} s"


def said(options: Any, **how: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        check_engine(options, **how)
    return str(caught.value)


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What a blocked thread waits for; it is let go at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


@dataclass(frozen=True)
class Of:
    """Options that are not registered, of an engine that is there already."""

    engine: Any
    capable: Any = None

    def capabilities(self) -> Any:
        return self.capable or Capabilities(frozenset())

    def open(self) -> Any:
        return self.engine


@pytest.mark.parametrize("options", BROKEN, ids=lambda one: getattr(one, "engine", type(one).__name__))
def test_an_engine_that_breaks_a_promise_is_told_so(options: Any) -> None:
    late = {"limit_s": SHORT_S} if LATE in BROKEN[options] else {}
    assert said(options, **late) == BROKEN[options]


def test_every_promise_can_be_broken_alone() -> None:
    broken = {text.partition(":")[0] for text in BROKEN.values()}
    assert broken == {promise.__name__ for promise in engine_promises()}


def test_all_broken_promises_are_told_at_once_each_of_a_fresh_engine_with_their_causes() -> None:
    opened: list[EchoEngine] = []

    class Worse(ENGINES["GivesLogprobsAlways"], ClosesOnce):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            opened.append(self)

    ENGINES["Worse"] = Worse
    with pytest.raises(AssertionError) as caught:
        check_engine(Broken("Worse"))
    assert str(caught.value).splitlines() == [
        BROKEN[Broken("GivesLogprobsAlways")],
        BROKEN[Broken("ClosesOnce")],
    ]
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert [type(one.__cause__) for one in group.exceptions] == [AssertionError, RuntimeError]
    assert len(opened) == 2
    assert all(one.closed for one in opened)


def test_an_engine_that_hangs_is_told_so_after_its_time_and_tried_no_further() -> None:
    class Hangs(EchoEngine):
        async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
            await asyncio.sleep(3600)
            yield Token(0, "")

    started = time.perf_counter()
    assert said(Of(Hangs()), limit_s=SHORT_S) == (
        f"it_answers: {LATE}. Find what it waits for, or give a larger limit_s."
    )
    assert time.perf_counter() - started < 5


def test_an_engine_that_blocks_is_left_and_told_where_it_stands(released: threading.Event) -> None:
    class Blocks(EchoEngine):
        async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
            released.wait(60)
            yield Token(0, "")

    started = time.perf_counter()
    line = Blocks.generate.__code__.co_firstlineno + 1
    assert said(Of(Blocks()), limit_s=SHORT_S) == (
        f"it_answers: {LATE} and cannot be cancelled: it stands at test_engines.py:{line} in generate. "
        "Await what takes time, or do it in a thread."
    )
    assert time.perf_counter() - started < 5


def test_an_engine_that_never_closes_is_left_too(released: threading.Event) -> None:
    class ClosesNever(EchoEngine):
        def close(self) -> None:
            released.wait(60)

    ENGINES["ClosesNever"] = ClosesNever
    line = ClosesNever.close.__code__.co_firstlineno + 1
    assert said(Broken("ClosesNever"), limit_s=SHORT_S) == (
        f"closing_twice_is_harmless: {LATE} and cannot be cancelled: it stands at "
        f"test_engines.py:{line} in close. Await what takes time, or do it in a thread."
    )


def test_a_promise_can_be_tried_alone() -> None:
    (closing,) = [promise for promise in engine_promises() if promise.__name__ == "closing_twice_is_harmless"]
    closing(Echo())
    with pytest.raises(RuntimeError, match=r"^it is closed already$"):
        closing(Broken("ClosesOnce"))


def test_a_promise_that_cannot_be_given_is_left_out_by_name() -> None:
    check_engine(Broken("MindsItsCompany"), without=["an_answer_does_not_depend_on_its_company"])
    assert said(Echo(), without=["the_same_seed_says_the_sane"]).startswith(
        "without: there is no promise 'the_same_seed_says_the_sane'. Did you mean 'the_same_seed_says_the_same'? There are: "
        "a_cancelled_request_ends_and_frees_the_engine, "
    )


def test_what_is_no_engine_is_refused_before_any_promise_is_tried() -> None:
    assert said(EchoEngine()) == "EchoEngine has no capabilities, open. EngineOptions has: capabilities, open."
    assert said(BellOptions()) == "BellOptions has no capabilities. EngineOptions has: capabilities, open."
    assert said(Echo) == "Echo is a class. Give an instance of it: Echo(…)."
    assert said(Of(Echo())) == "Echo has no close, count, describe, generate. Give what its open() gives."
    assert said(Of(EchoEngine(), frozenset({"top_p"}))) == (
        "capabilities gave a frozenset. It should give Capabilities(frozenset(…))."
    )


def test_an_engine_that_cannot_be_opened_says_why() -> None:
    class Lost(Of):
        def open(self) -> Any:
            raise ModelError("model.path: there is no such folder. Give another.")

    with pytest.raises(ModelError, match=r"^model\.path: there is no such folder\. Give another\.$"):
        check_engine(Lost(None))


def test_prompts_that_are_answered_in_a_word_show_too_little() -> None:
    few = "no prompt was answered in four tokens with text. Give check_engine other prompts."
    assert said(Echo(), prompts=[prompt("hi"), prompt("good morning")]).splitlines() == [
        f"each_token_adds_its_own_text: {few}",
        f"max_tokens_ends_an_answer_with_length: {few}",
        f"a_stop_string_ends_the_answer_and_is_not_part_of_it: {few}",
        f"a_stop_token_ends_the_answer_and_adds_no_text: {few}",
    ]
    check_engine(Echo(), prompts=[prompt("hi"), prompt("one two three four")])


def test_it_is_opened_used_and_closed_inside_one_event_loop() -> None:
    loops = []

    class Clinging(EchoEngine):
        def __init__(self) -> None:
            loops.append(asyncio.get_running_loop())

        async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
            loops.append(asyncio.get_running_loop())
            async for token in super().generate(request):
                yield token

        def close(self) -> None:
            loops.append(asyncio.get_running_loop())

    ENGINES["Clinging"] = Clinging
    check_engine(Broken("Clinging"))
    assert len(loops) > 50
    assert len(set(loops)) == 1


def test_what_it_does_not_honour_is_not_asked_of_it() -> None:
    class Plain(EchoEngine):
        honours: frozenset[str] = frozenset()

        async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
            if request.schedule.at(0) != Sampling(max_tokens=request.schedule.at(0).max_tokens):
                raise EngineError("sampling: nothing can be set.")
            async for token in super().generate(request):
                yield token

    ENGINES["Plain"] = Plain
    check_engine(Broken("Plain"))


def test_every_sampling_parameter_is_tried() -> None:
    assert {*TAME, "max_tokens", "n"} == {field.name for field in dataclasses.fields(Sampling)}
