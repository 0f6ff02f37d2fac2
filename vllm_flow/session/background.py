"""An event loop in a thread of its own: a script has none, a notebook's is busy, and a session works in both.

What is asked of it may come from any thread, from blocking code and from other event loops, all at once. The thread is
a daemon, so that a process never waits for it at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Generic, TypeVar

from vllm_flow.core.errors import FlowError

T = TypeVar("T")
SLICE_S = 0.2
"""How long a wait lasts before it looks up: on Windows one without an end does not hear Ctrl-C."""
PATIENCE_S = 5.0
"""How long stopped work gets to put its things in order before whoever stopped it goes on."""
CLOSED = "the session is closed. Load another with vllm_flow.load(…)."
CUT_OFF = "the session was closed before this was done. Close it when its calls have returned."
INSIDE = "a stage of the session called it, and both would wait for ever. Use `await` with arun or `async for`."


class Call(Generic[T]):
    """Work handed to an event loop. Its outcome is there when the work has ended, however it ended.

    Not a moment before: by then the loop's thread holds nothing of the caller's, who may let go of it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[], Awaitable[T]]) -> None:
        self.outcome: Future[T] = Future()
        self.outcome.set_running_or_notify_cancel()  # from here on nobody but the work itself can settle it
        self._loop = loop
        self._task: asyncio.Task[Callable[[], None]] | None = None
        loop.call_soon_threadsafe(self._start, work)

    def stop(self) -> None:
        """Cancel the work, which may still take a moment to end."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: all work has ended
            self._loop.call_soon_threadsafe(lambda: self._task and self._task.cancel())

    def _start(self, work: Callable[[], Awaitable[T]]) -> None:
        self._task = self._loop.create_task(self._to_end(work))
        self._task.add_done_callback(self._settle)

    async def _to_end(self, work: Callable[[], Awaitable[T]]) -> Callable[[], None]:
        """How the outcome is to be settled."""
        try:
            return partial(self.outcome.set_result, await work())
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # sys.exit in a stage ends its turn; in a task it would end the loop
            return partial(self.outcome.set_exception, error)

    def _settle(self, task: asyncio.Task[Callable[[], None]]) -> None:
        if task.cancelled():
            self.outcome.set_exception(FlowError(CUT_OFF))
        else:
            task.result()()


class Background:
    """Runs asynchronous work for callers of any kind. The thread starts with the first of it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._door = threading.Lock()
        """Held while work is handed over, so that none can come in behind the last."""
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Be ready for work, the last included. Raises FlowError when closed."""
        with self._door:
            self._ready()

    def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """What the work gives. Ctrl-C stops it, gives it time to end, and is raised. Raises FlowError when closed."""
        if self._is_here():
            raise FlowError(INSIDE)
        call = self._hand_over(work)
        try:
            while not call.outcome.done():
                wait([call.outcome], SLICE_S)
        except BaseException:
            call.stop()
            wait([call.outcome], PATIENCE_S)
            raise
        return call.outcome.result()

    async def arun(self, work: Callable[[], Awaitable[T]]) -> T:
        """`run`, for any event loop. Cancelling the caller stops the work and gives it time to end."""
        call = self._hand_over(work)
        try:
            return await asyncio.wrap_future(call.outcome)
        except asyncio.CancelledError:
            call.stop()
            with contextlib.suppress(TimeoutError):
                ended = asyncio.gather(asyncio.wrap_future(call.outcome), return_exceptions=True)
                await asyncio.wait_for(ended, PATIENCE_S)
            raise

    def close(self, last: Callable[[], Awaitable[None]], patience_s: float | None = None) -> None:
        """Run the last work and end the thread; without a thread there is nothing to do. Raises what `last` raises.

        With `patience_s` the wait has an end, and work that takes longer ends with the process.
        """
        with self._door:
            if self._closed:
                return
            self._closed = True
            if self._loop is None or self._thread is None:
                return
            loop, thread, call = self._loop, self._thread, Call(self._loop, last)
        call.outcome.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
        if self._is_here():  # the garbage collector came by in the loop's own thread
            return
        while not call.outcome.done():
            wait([call.outcome], SLICE_S if patience_s is None else patience_s)
            if patience_s is not None and not call.outcome.done():
                return
        thread.join(patience_s)
        call.outcome.result()

    def _is_here(self) -> bool:
        return threading.current_thread() is self._thread

    def _hand_over(self, work: Callable[[], Awaitable[T]]) -> Call[T]:
        with self._door:
            return Call(self._ready(), work)

    def _ready(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise FlowError(CLOSED)
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_turn, args=(self._loop,), name=self._name, daemon=True)
            self._thread.start()
        return self._loop


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    """The life of the thread: the loop until it is stopped, then whatever tasks and generators are left."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.get_loop().run_forever()
