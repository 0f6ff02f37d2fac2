"""Turns in flight: every conversation is a task, its turns in order, many conversations at once, with a bound.

Two bounds, because the turns of one conversation wait for each other: how many are answered at once, and how many are
read ahead of the reader of the results. Nothing here knows what answering means.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Any, TypeVar

from vllm_flow.core.results import Result
from vllm_flow.core.values import BadRow, Turn

Item = Turn | BadRow
T = TypeVar("T")
AHEAD = 8
"""How many times `limit` items are read whose results nobody has taken yet: room for turns that wait for an earlier."""


class Flow:
    """Answers turns as they come in; yields results as they are done, not in input order."""

    def __init__(self, answer: Callable[[Item], Awaitable[Result]], limit: int) -> None:
        self._answer = answer
        self._slots = asyncio.Semaphore(limit)
        self._ahead = asyncio.Semaphore(limit * AHEAD)
        self._waiting: dict[str, deque[Item]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: asyncio.Queue[Result | BaseException | None] = asyncio.Queue()

    async def run(self, turns: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Result, None]:
        """All results. Leaving the iteration early cancels what is in flight and waits for it to end."""
        self._start(self._feed, turns)
        try:
            while self._tasks or not self._done.empty():
                result = await self._done.get()
                if isinstance(result, BaseException):
                    raise result
                if result is not None:
                    self._ahead.release()
                    yield result
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Callable[[Any], Awaitable[None]], on: Any) -> None:
        async def guarded() -> None:
            try:
                await work(on)  # called in here: a task cancelled before its first step leaves no unawaited coroutine
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # lost in a task, it would leave the reader waiting
                self._done.put_nowait(error)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._done.put_nowait(None)  # wakes the reader, which sees whether any work is left

    async def _feed(self, turns: Iterable[Item] | AsyncIterable[Item]) -> None:
        async with aclosing(as_async(turns)) as items:
            async for item in items:
                await self._ahead.acquire()
                conversation = item.conversation if isinstance(item, Turn) else f"\0{item.index}"
                if conversation in self._waiting:
                    self._waiting[conversation].append(item)
                else:
                    self._waiting[conversation] = deque([item])
                    self._start(self._converse, conversation)

    async def _converse(self, conversation: str) -> None:
        waiting = self._waiting[conversation]
        try:
            while waiting:
                async with self._slots:
                    self._done.put_nowait(await self._answer(waiting.popleft()))
        finally:
            del self._waiting[conversation]


async def as_async(items: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T, None]:
    """The items, however they come."""
    if isinstance(items, AsyncIterable):
        try:
            async for item in items:
                yield item
        finally:
            if inspect.isasyncgen(items):
                await items.aclose()
    else:
        for item in items:
            yield item
