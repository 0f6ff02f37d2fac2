"""The desk of a session: its runner, kept open between calls, and its record. Answers in one event loop only.

Calls know nothing of each other, and yet the turns of a conversation come one after another, and no more turns are in
flight than the spec allows: both are seen to here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from contextlib import aclosing
from pathlib import Path
from weakref import WeakValueDictionary

from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import FlowError, listed
from vllm_flow.core.events import Event, Observer, TokenMade
from vllm_flow.core.flow import Flow, Item
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.record import Record
from vllm_flow.core.resources import Engine, EngineOptions
from vllm_flow.core.results import Result
from vllm_flow.core.runner import Runner
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.taking import score
from vllm_flow.core.values import Before, Turn


class Desk:
    """Answers turns until it is closed. Raises ConfigError when the spec has faults; opens nothing before it must."""

    def __init__(
        self, spec: RunSpec, engines: Engines | None, folder: Path | None, observers: Sequence[Observer]
    ) -> None:
        self.runner = Runner(spec, engines)
        self._folder = folder
        self._observers = (*observers, self._hear)
        self._record: Record | None = None
        self._opened = False
        self._door = threading.Lock()
        """Held while it is opened, changed or closed."""
        self._trouble: BaseException | None = None
        """Why it could not be opened when that was last tried."""
        self._in_hand = 0
        self._lines: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """For each conversation the lock its turns wait at; gone when nobody does."""
        self._slots = asyncio.Semaphore(spec.concurrency)
        self._listeners: dict[int, Callable[[str], None]] = {}
        """Who hears the live text of a turn, by the turn's index."""

    def open(self) -> None:
        """Begin the record and open what the graph reads, unless that is done. Blocks, and may be called anywhere."""
        with self._door:
            if self._opened:
                return
            if self._record is None and self._folder is not None:
                self._record = Record(self._folder, self.runner.spec)
            self.runner.observers = (*([self._record] if self._record else []), *self._observers)
            try:
                self.runner.__enter__()
            except BaseException as error:
                self._trouble = error
                raise
            self._opened, self._trouble = True, None

    async def answer(self, item: Item) -> Result:
        """Answer one turn, after those of its conversation that came before."""
        name = item.conversation if isinstance(item, Turn) else item.row
        self._in_hand += 1
        try:
            self.open()
            async with self._lines.setdefault(name, asyncio.Lock()), self._slots:
                return await self.runner.answer(item)
        finally:
            self._in_hand -= 1

    async def answer_all(self, items: Iterable[Item] | AsyncIterable[Item]) -> list[Result]:
        """Answer many turns at once. The results are in the order of the items' index."""
        async with aclosing(Flow(self.answer, self.runner.spec.concurrency).run(items)) as results:
            return sorted([result async for result in results], key=lambda result: result.turn.index)

    async def stream(self, turn: Turn) -> AsyncGenerator[str | Result, None]:
        """The text of one answer in pieces, as it is made, and then the result. Leaving early interrupts the turn."""
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._listeners[turn.index] = pieces.put_nowait
        answering = asyncio.create_task(self.answer(turn))
        answering.add_done_callback(lambda _: pieces.put_nowait(None))
        heard = False
        try:
            while (piece := await pieces.get()) is not None:
                heard = True
                yield piece
            result = await answering
            if not heard and result.failure is None and result.text:
                yield result.text
            yield result
        finally:
            del self._listeners[turn.index]
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def score(self, name: str, prompt: Before, text: str | tuple[int, ...]) -> Scored:
        """What the engine of that name says of a text, beside whatever it answers."""
        self._in_hand += 1
        try:
            self.open()
            engine = self.runner.opened(name)
            if not isinstance(engine, Engine):
                resources = self.runner.pipeline.resources
                known = [one for one, made in resources.items() if isinstance(made.options, EngineOptions)]
                raise FlowError(f"session.score: the pipeline reads no engine '{name}'. It reads: {listed(known)}.")
            async with self._slots:
                return await score(engine, prompt, text)
        finally:
            self._in_hand -= 1

    def reconfigure(self, spec: RunSpec, change: str) -> None:
        """Go on with another spec. Blocks, and may be called anywhere.

        Raises FlowError, and changes nothing, when that cannot be done.
        """
        with self._door:
            if self._in_hand:
                raise FlowError(f"{change}: a turn is being answered. Wait for it, or stop it, and set this again.")
            self.runner.reconfigure(spec, change)
            self._slots = asyncio.Semaphore(spec.concurrency)

    async def close(self, error: BaseException | None = None) -> None:
        """Stop what is in flight, close what is open, and finish the record with the status that `error` means."""
        if self._in_hand:
            error = error or asyncio.CancelledError()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        error = error or self._trouble
        try:
            with self._door:
                if self._opened:
                    self.runner.__exit__(None, None, None)
        except BaseException as problem:
            error = error or problem
            raise
        finally:
            if self._record is not None:
                self._record.end(error)

    def _hear(self, event: Event) -> None:
        if isinstance(event, TokenMade) and event.live and event.token.text:
            listener = self._listeners.get(event.turn.index)
            if listener is not None:
                listener(event.token.text)
