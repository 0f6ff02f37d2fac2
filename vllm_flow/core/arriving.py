"""Items that another program writes: waited for in a thread, so that what has arrived is answered meanwhile.

An iterator that waits for a pipe stops everything else in its thread, the event loop included. The thread is a daemon:
nothing can wake it while it waits, and whoever leaves early must not have to.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
AHEAD = 64
"""How many items are read that nobody has taken yet."""


async def arriving(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """The items, each as soon as it is there. Raises what their iterator raises."""
    loop, room, left = asyncio.get_running_loop(), threading.Semaphore(AHEAD), threading.Event()
    arrived: asyncio.Queue[tuple[T] | BaseException] = asyncio.Queue()

    def put(what: tuple[T] | BaseException) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(arrived.put_nowait, what)

    def read() -> None:
        end: BaseException = StopAsyncIteration()
        try:
            for item in items:
                room.acquire()
                if left.is_set():
                    return
                put((item,))
        except BaseException as error:  # lost in a thread, it would leave the reader waiting
            end = error
        put(end)

    threading.Thread(target=read, name="vllm-flow input", daemon=True).start()
    try:
        while not isinstance(what := await arrived.get(), StopAsyncIteration):
            if isinstance(what, BaseException):
                raise what
            yield what[0]
            room.release()
    finally:
        left.set()
        room.release()
