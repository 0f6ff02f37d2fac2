"""Asking an engine from a test: whether or not an event loop runs there, and without waiting for ever."""

from __future__ import annotations

import asyncio
import math
import sys
import sysconfig
import threading
import traceback
from collections.abc import Coroutine
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from vllm_flow.core.messages import Message
from vllm_flow.core.resources import Engine
from vllm_flow.core.values import Completion, Request
from vllm_flow.stages.infer import complete
from vllm_flow.testing.compare import has_methods
from vllm_flow.testing.values import prompt, schedule

T = TypeVar("T")
Outcome = tuple[T | None, BaseException | None]


class Late(AssertionError):
    """Something was not done in its time."""


class Loop:
    """An event loop in a thread of its own.

    So work can be waited for inside another loop, as in a notebook or an async test, and can be left when it blocks.
    """

    def __init__(self) -> None:
        self.blocked = False
        """Whether something that ran late may still be running in it."""
        self._begun: Future[asyncio.AbstractEventLoop] = Future()
        self._ended: Future[None] = Future()
        self._thread = threading.Thread(target=self._live, name="vllm-flow testing", daemon=True)
        self._thread.start()
        self._loop = self._begun.result()

    def _live(self) -> None:
        try:
            self._ended.set_result(asyncio.run(self._stay()))
        except BaseException as error:  # SystemExit and KeyboardInterrupt end any loop, and the work with it
            self._ended.set_exception(error)

    async def _stay(self) -> None:
        self._over = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.slow_callback_duration = math.inf  # a busy machine is nobody's fault, and `python -X dev` would tell of it
        self._begun.set_result(loop)
        await self._over.wait()

    @property
    def alive(self) -> bool:
        return not self._ended.done()

    def run(self, work: Coroutine[Any, Any, T], limit_s: float | None = None) -> T:
        """What the work gives. Raises Late when it is not done in time; it is cancelled then, or left if it blocks."""
        asked = asyncio.run_coroutine_threadsafe(_outcome(limit_s, work), self._loop)
        either: tuple[Future[Any], ...] = (asked, self._ended)
        try:
            self.blocked = not wait(either, limit_s and 1.5 * limit_s, FIRST_COMPLETED).done
        except BaseException:  # Ctrl-C, or the time limit of a test runner
            self.blocked = True
            asked.cancel()
            raise
        if self.blocked:
            what = f"it was not done after {limit_s:g} s and cannot be cancelled: it stands {self._place()}"
            raise Late(f"{what}. Await what takes time, or do it in a thread.")
        answered = asked.done() and not asked.cancelled() and asked.exception() is None
        value, error = asked.result() if answered else (None, self._ended.exception())
        if error is not None:
            raise error
        return cast(T, value)

    def _place(self) -> str:
        """Where the thread is, in the innermost function that is not Python's own."""
        frames = traceback.extract_stack(sys._current_frames().get(self._thread.ident or 0))
        found = next((one for one in reversed(frames) if not _is_pythons_own(one.filename)), None)
        return f"at {Path(found.filename).name}:{found.lineno} in {found.name}" if found else "nowhere to be seen"

    def close(self) -> None:
        """End the loop and what still runs in it: later, if it blocks."""
        if self.alive:
            self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(0 if self.blocked else 10.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_pythons_own(file: str) -> bool:
    return file.startswith((sysconfig.get_path("stdlib"), "<frozen")) and "site-packages" not in file


async def _outcome(limit_s: float | None, work: Coroutine[Any, Any, T]) -> Outcome[T]:
    """Value and error, of which one is None: a future would make another TimeoutError of one that is raised."""
    try:
        async with asyncio.timeout(limit_s) as limit:
            return await work, None
    except TimeoutError as error:
        if not limit.expired():
            return None, error
        late = Late(f"it was not done after {limit_s:g} s. Find what it waits for, or give a larger limit_s.")
        late.__cause__ = error
        return None, late
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return None, error  # nobody cancelled it: something in it was
    except Exception as error:
        return None, error


_home: Loop | None = None


def home() -> Loop:
    """The loop for parts that a test has opened itself: one as long as it lives, as a client of a network wants."""
    global _home  # noqa: PLW0603  # it lives as long as the process
    if _home is None or _home.blocked or not _home.alive:
        _home = Loop()
    return _home


def ask(
    engine: Engine,
    *said: str | Message,
    seed: int = 0,
    sample: int = 0,
    logprobs: bool = False,
    top_logprobs: int = 0,
    **sampling: Any,
) -> Completion:
    """The answer of a live engine, which stays open. What is said is as in `prompt`; `sampling` are its parameters.

    Raises what the engine raises, and EngineError for a stream that ends without its finish.
    """
    has_methods(engine, Engine)
    request = Request(prompt(*said), schedule(**sampling), seed, sample, logprobs, top_logprobs)
    return home().run(complete(engine, request))
