"""Places to wait at: a bounded number, handed out in the order of asking, to any event loop and thread.

Whoever finds none free waits in its own event loop, and so slows down whoever sends the requests: nothing is refused.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from contextlib import asynccontextmanager


class Places:
    """So many that are free at first."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._asking: deque[Future[None]] = deque()
        self._closed = False
        self._door = threading.Lock()

    async def take(self) -> None:
        """Wait for a place, behind all who asked before. When cancelled, none is taken."""
        with self._door:
            if self._closed or self._free > 0:
                self._free -= 1
                return
            turn: Future[None] = Future()
            self._asking.append(turn)
        try:
            await asyncio.wrap_future(turn)
        except BaseException:
            if not turn.cancel():  # it had just been given one
                self.give(1)
            raise

    @asynccontextmanager
    async def one(self) -> AsyncGenerator[None, None]:
        """A place as long as the block lasts."""
        await self.take()
        try:
            yield
        finally:
            self.give(1)

    def give(self, count: int) -> None:
        """Places that are free again go to those who have asked longest."""
        with self._door:
            self._free += count
            while self._asking and (self._free > 0 or self._closed):
                if self._asking[0].set_running_or_notify_cancel():  # False for one that has been cancelled
                    self._asking[0].set_result(None)
                    self._free -= 1
                self._asking.popleft()

    def close(self) -> None:
        """From now on nobody waits."""
        self._closed = True
        self.give(0)
