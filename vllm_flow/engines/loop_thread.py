"""A thread with an event loop of its own, for engines whose client belongs to one loop while many loops ask it.

Items cross over one by one; leaving a stream cancels its work, and closing the thread ends what still streams.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import aclosing, suppress
from typing import TypeVar

from vllm_flow.core.errors import EngineError, FlowError

log = logging.getLogger("vllm_flow")
T = TypeVar("T")
CLOSED = "the engine was closed before the answer was complete. Open a new one."


class LoopThread:
    """Runs asynchronous generators for other loops."""

    def __init__(self, name: str, at_end: Callable[[], Awaitable[None]]) -> None:
        """at_end: what to do in the loop before it ends."""
        self._at_end = at_end
        self._closed = False
        self._door = threading.Lock()
        """Held while work comes in, so that none comes in behind the end."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, work: Callable[[], T]) -> T:
        """What the work gives, done over there; blocks. Raises what it raises."""

        async def one() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(one(), self._loop).result()

    async def stream(self, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """The items, made over there. Raises what makes them, and EngineError when the thread is closed."""
        here, arrived = asyncio.get_running_loop(), asyncio.Queue[T | Future[None]]()

        def put(item: T | Future[None]) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                here.call_soon_threadsafe(arrived.put_nowait, item)

        with self._door:
            if self._closed:
                raise EngineError(CLOSED)
            work = asyncio.run_coroutine_threadsafe(_pass_on(items, put), self._loop)
        work.add_done_callback(put)
        try:
            while not isinstance(item := await arrived.get(), Future):
                yield item
            _raise_what_ended(work)
        finally:
            work.cancel()

    def close(self) -> None:
        """End what streams, then the loop. A second time nothing happens."""
        with self._door:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._at_end()


async def _pass_on(items: AsyncGenerator[T, None], put: Callable[[T], None]) -> None:
    async with aclosing(items):
        async for item in items:
            put(item)


def _raise_what_ended(work: Future[None]) -> None:
    if work.cancelled():
        raise EngineError(CLOSED)
    error = work.exception()
    if isinstance(error, FlowError):
        raise error
    if error is not None:
        log.debug("a request failed", exc_info=error)
        raise EngineError(f"the engine failed: {type(error).__name__}: {error}. Report this.") from error
