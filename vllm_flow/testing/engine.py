"""What every engine promises, and the check of it.

An engine is checked through its options: they say what it honours, so that nothing else is asked of it, and open a live
one, inside the event loop that uses it, as the runner does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

from vllm_flow.core.resources import Engine, EngineOptions
from vllm_flow.core.values import Prompt
from vllm_flow.testing import engine_answers, engine_company
from vllm_flow.testing.asking import to_end
from vllm_flow.testing.promises import Broken, report
from vllm_flow.testing.trial import PROMPTS, Trial

LIMIT_S = 60.0
"""Of one promise; a real model on a slow machine needs more."""


@dataclass(frozen=True)
class EnginePromise:
    """One thing every engine must do. Called with an engine's options, it opens one, tries it and closes it."""

    check: Callable[[Trial], Awaitable[None]]

    @property
    def __name__(self) -> str:
        """What it promises; pytest names a test case after it."""
        return self.check.__name__

    def __call__(
        self, options: EngineOptions, *, prompts: Sequence[Prompt] = PROMPTS, limit_s: float = LIMIT_S
    ) -> None:
        """Raises AssertionError when the promise is broken, and whatever the engine raises."""

        async def alone() -> None:
            with closing(options.open()) as engine:
                await self.hold(Trial(options, engine, tuple(prompts)), limit_s)

        to_end(alone)

    async def hold(self, trial: Trial, limit_s: float) -> None:
        """The same on an engine that is open."""
        try:
            async with asyncio.timeout(limit_s) as limit:
                await self.check(trial)
        except TimeoutError as error:
            if not limit.expired():
                raise
            what = f"it was not done after {limit_s:g} s. Give every request its answer, or a larger limit_s."
            raise AssertionError(what) from error


def engine_promises() -> tuple[EnginePromise, ...]:
    return tuple(map(EnginePromise, (*engine_answers.PROMISES, *engine_company.PROMISES)))


def check_engine(options: EngineOptions, *, prompts: Sequence[Prompt] = PROMPTS, limit_s: float = LIMIT_S) -> None:
    """Try every promise on one engine, opened anew after a broken one; each has `limit_s` seconds.

    A promise about a sampling parameter that the engine does not honour is no promise of that engine. At least one of
    the prompts must be answered in four tokens or more. Raises AssertionError with one line for each broken promise,
    and what `open` raises.
    """
    report(to_end(lambda: _broken(options, tuple(prompts), limit_s)))


async def _broken(options: EngineOptions, prompts: tuple[Prompt, ...], limit_s: float) -> list[Broken]:
    found: list[Broken] = []
    engine = options.open()
    for promise in engine_promises():
        try:
            await promise.hold(Trial(options, engine, prompts), limit_s)
        except Exception as error:
            found.append(Broken(promise.__name__, error))
            _close(engine)
            engine = options.open()
    _close(engine)
    return found


def _close(engine: Engine) -> None:
    """Whether it closes well is a promise of its own, and a broken engine may fail here once more."""
    with suppress(Exception):
        engine.close()
