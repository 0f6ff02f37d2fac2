"""The check of an engine, promise by promise.

An engine is checked through its options: they say what it honours, so that nothing else is asked of it, and open a live
one, inside the event loop that uses it, as the runner does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.resources import Capabilities, Engine, EngineOptions
from vllm_flow.core.values import Prompt
from vllm_flow.testing import engine_promises as promises
from vllm_flow.testing.asking import Late, Loop
from vllm_flow.testing.compare import Broken, has_methods, report, require
from vllm_flow.testing.trial import PROMPTS, Trial

T = TypeVar("T")
LIMIT_S = 60.0
"""Of one promise; a large model on a slow machine needs more."""


@dataclass(frozen=True)
class EnginePromise:
    """One thing every engine must do."""

    check: Callable[[Trial], Coroutine[Any, Any, None]]

    @property
    def __name__(self) -> str:
        """What it promises; pytest names a test case after it."""
        return self.check.__name__

    def __call__(
        self, options: EngineOptions, *, prompts: Sequence[Prompt] = PROMPTS, limit_s: float = LIMIT_S
    ) -> None:
        """Try it on an engine of its own. Raises AssertionError when it is broken, and whatever the engine raises."""
        with _opened(options, prompts, limit_s) as attempt:
            attempt(self)


def engine_promises() -> tuple[EnginePromise, ...]:
    """Each to be called with an engine's options: one test case for each."""
    return tuple(map(EnginePromise, promises.PROMISES))


def check_engine(
    options: EngineOptions,
    *,
    prompts: Sequence[Prompt] = PROMPTS,
    limit_s: float = LIMIT_S,
    without: Collection[str] = (),
) -> None:
    """Try every promise on one engine, opened anew after a broken one; each has `limit_s` seconds.

    A promise about a sampling parameter that the engine does not honour is no promise of that engine. At least one of
    the prompts must be answered in four tokens or more. `without` names promises that cannot be given: of a server, for
    one, whose answers depend on its load. An engine that does not answer or does not end is not tried any further.

    Raises AssertionError with one line for each broken promise, and what `open` raises.
    """
    names = [promise.__name__ for promise in engine_promises()]
    for name in without:
        what = f"without: there is no promise '{name}'.{nearest(name, names)} There are: {listed(names)}."
        require(name in names, what)
    left = deque(promise for promise in engine_promises() if promise.__name__ not in without)
    found: list[Broken] = []
    while left:
        found += _until_broken(left, options, prompts, limit_s)
    report(found)


def _until_broken(
    left: deque[EnginePromise], options: EngineOptions, prompts: Sequence[Prompt], limit_s: float
) -> Iterator[Broken]:
    """Take promises from those left and try them on one engine."""
    with _opened(options, prompts, limit_s) as attempt:
        while left:
            promise = left.popleft()
            try:
                attempt(promise)
            except Exception as error:
                yield Broken(promise.__name__, error)
                if isinstance(error, Late) or promise.check is promises.it_answers:
                    left.clear()
                return


@contextmanager
def _opened(
    options: EngineOptions, prompts: Sequence[Prompt], limit_s: float
) -> Iterator[Callable[[EnginePromise], None]]:
    """What tries a promise on one engine, which is closed in the end. Opening may take as long as loading takes."""
    has_methods(options, EngineOptions)
    given = options.capabilities()
    what = f"capabilities gave a {type(given).__name__}. It should give Capabilities(frozenset(…))."
    require(isinstance(given, Capabilities), what)
    with Loop() as loop:
        engine = loop.run(_called(options.open))
        has_methods(engine, Engine)
        trial = Trial(options, engine, tuple(prompts))
        try:
            yield lambda promise: loop.run(promise.check(trial), limit_s)
        finally:
            # Whether it closes well is a promise of its own, and a broken engine may fail here once more.
            with suppress(Exception):
                if not loop.blocked:
                    loop.run(_called(engine.close), limit_s)


async def _called(function: Callable[[], T]) -> T:
    """Called inside the event loop."""
    return function()
