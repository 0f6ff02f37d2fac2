"""The runner: turns in, results out. It opens what the graph reads, once, and closes it, always.

Front ends only make turns, and batching happens in the engine: between the two there is nothing but this loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, aclosing
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import FlowError, StageError, told
from vllm_flow.core.events import Event, Observer, Opened, Reconfigured, TurnDone, TurnStarted
from vllm_flow.core.flow import Flow, Item
from vllm_flow.core.heard import Recall
from vllm_flow.core.marks import about, marked, unmarked
from vllm_flow.core.messages import user
from vllm_flow.core.numbering import begun_next
from vllm_flow.core.pipeline import Pipeline, Resource
from vllm_flow.core.resources import Store
from vllm_flow.core.results import Failure, Result
from vllm_flow.core.shown import Said
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.telling import Telling
from vllm_flow.core.unfinished import Commit
from vllm_flow.core.values import BadRow, Turn
from vllm_flow.core.walk import Walk

log = logging.getLogger("vllm_flow")


class Runner:
    """Runs one spec. `with` or `async with` keeps its resources open between runs; else each run opens and closes them.

    Opening blocks, and a running event loop puts Ctrl-C off until then: open with `with`, outside of it, what takes
    long. Raises ConfigError when the spec has faults. `engines` are shared with other runners and outlive this one.
    `recall` gives what clocks have said before, when a run is told again.
    """

    def __init__(
        self,
        spec: RunSpec,
        engines: Engines | None = None,
        observers: Sequence[Observer] = (),
        recall: Recall | None = None,
    ) -> None:
        self.spec = spec
        self.pipeline = Pipeline.build(spec)
        self._own_engines = Engines() if engines is None else None
        self.engines = self._own_engines or engines or Engines()
        self.observers = tuple(observers)
        self._recall = recall
        self._opened: dict[str, Any] = {}
        self._numbers: dict[str, int] = {}
        self._depth = 0
        self._observer_error: Exception | None = None
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        self._depth += 1
        if self._depth == 1:
            self._pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="stage")
            try:
                self._opened = self._open(self.pipeline, {})
                self._tell_opened()
            except BaseException:
                self._depth -= 1  # nobody calls __exit__ after this
                self._close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    async def run(
        self, turns: Iterable[Item] | AsyncIterable[Item], at_once: int | None = None
    ) -> AsyncGenerator[Result, None]:
        """Answer the turns: those of one conversation in order, `at_once` of all of them, else `spec.concurrency`.

        Results come as they are done. A failing turn is a result with a `failure`. Leaving early interrupts what is in
        flight; the store then keeps what had been said.
        """
        async with self, aclosing(Flow(self.answer, at_once or self.spec.concurrency).run(turns)) as results:
            async for result in results:
                yield result

    async def answer(self, item: Item) -> Result:
        """Answer one turn. Resources must be open."""
        started = time.perf_counter()
        if isinstance(item, BadRow):
            turn = Turn(item.row, user(""), index=item.index)
            result = Result(turn, failure=Failure("", "InputError", f"{item.row}: {item.problem}"))
        else:
            result = await self._answer(item)
        if self._observer_error is not None:
            error, self._observer_error = self._observer_error, None
            raise error
        self.publish(TurnDone(result, time.perf_counter() - started))
        return result

    async def _answer(self, asked: Turn) -> Result:
        turn, said = asked, Said()
        try:
            turn = self._numbered(asked)
            if asked.number is not None and (stored := self._stored(turn)) is not None:
                return stored
            self.publish(TurnStarted(turn))
            given = {"turn": turn, "sampling": self.pipeline.sampling, **self._opened}
            walk = Walk(turn, self.spec.seed, self.publish, self._pool, said, self._recall)
            return Result(turn, await walk.graph(self.pipeline.graph, given))
        except asyncio.CancelledError:
            self._interrupt(turn, said)
            raise
        except Exception as error:
            log.debug("turn %s of %s failed", turn.number, turn.conversation, exc_info=error)
            return Result(turn, failure=failure_of(error))

    def opened(self, name: str) -> Any:
        """The live resource of that name, or None when the graph reads none or it is not open."""
        return unmarked(self._opened.get(name))

    def restore(self, commits: Iterable[Commit]) -> None:
        """Give stores that ended with their process what they had kept. Resources must be open."""
        for one in commits:
            store: Telling = self._opened[one.store]
            store.restore(one.turn, one.reply, one.state)

    def reconfigure(self, spec: RunSpec, change: str) -> None:
        """Go on with another spec. Resources configured alike stay open: a conversation goes on, a model stays loaded.

        Raises ConfigError when the spec has faults, and what opening raises; then nothing has changed. No turn may be
        in flight.
        """
        pipeline = Pipeline.build(spec)
        before, after = self.pipeline.resources, pipeline.resources
        kept = {name: live for name, live in self._opened.items() if before[name] == after.get(name)}
        fresh = self._open(pipeline, kept) if self._depth else {}
        gone = [(before[name], live) for name, live in self._opened.items() if name not in kept]
        self.spec, self.pipeline, self._opened = spec, pipeline, kept | fresh
        for resource, live in gone:
            _close_one(resource, live)
        self.publish(Reconfigured(change, spec))
        if self._depth:
            self._tell_opened()

    def publish(self, event: Event) -> None:
        """Tell the observers. What one of them raises ends the run: it is no stage's fault, and no turn's."""
        for observer in self.observers:
            try:
                observer(event)
            except Exception as error:
                self._observer_error = self._observer_error or error
                raise

    def _open(self, pipeline: Pipeline, kept: Mapping[str, Any]) -> dict[str, Any]:
        """What the pipeline reads beside `kept`. When one cannot be opened, those before it are closed again."""
        fresh: dict[str, Any] = {}
        with ExitStack() as undoing:
            for name, resource in pipeline.resources.items():
                if name not in kept:
                    live = self.engines.open(resource.options) if resource.shared else resource.options.open()
                    fresh[name] = marked(name, resource, live, self.publish)
                    if not resource.shared and hasattr(live, "close"):
                        undoing.callback(live.close)
            undoing.pop_all()
        return fresh

    def _tell_opened(self) -> None:
        self.publish(Opened(about(self._opened)))

    def _close(self) -> None:
        """Close everything, the last opened first, even when one of them fails to."""
        self._numbers.clear()
        with ExitStack() as closing:
            closing.callback(self._opened.clear)
            if self._pool is not None:
                closing.callback(self._pool.shutdown, wait=False, cancel_futures=True)
            if self._own_engines is not None:
                closing.callback(self._own_engines.close)
            for name, live in self._opened.items():
                closing.callback(_close_one, self.pipeline.resources[name], live)

    def _stores(self) -> Iterator[Store]:
        return (one for one in self._opened.values() if isinstance(one, Store))

    def _numbered(self, turn: Turn) -> Turn:
        """Turns are counted by the store; by the runner only where the graph remembers nothing."""
        name, number, store = turn.conversation, turn.number, next(self._stores(), None)
        if number is None and store is not None and self.pipeline.commits_output:
            return begun_next(turn, store)
        if number is None:
            number = store.next_number(name) if store else self._numbers.get(name, 0) + 1
        if store is None:
            self._numbers[name] = number
        return replace(turn, number=number)

    def _stored(self, turn: Turn) -> Result | None:
        """A turn that names its number may have been answered before: then the stored reply is the answer.

        Unless it is not the graph's output: what stands before a guard is not for the user.
        """
        for store in self._stores() if self.pipeline.commits_output else ():
            reply = store.begin(turn).reply
            if reply is not None and reply.finish_reason != "interrupted":
                return Result(turn, reply, stored=True)
        return None

    def _interrupt(self, turn: Turn, said: Said) -> None:
        try:
            if (partial := said.partial()) is not None:
                for store in self._stores():
                    store.interrupt(turn, partial)
        except FlowError as error:
            log.warning("turn %s of %s: what had been said is not stored: %s", turn.number, turn.conversation, error)


def _close_one(resource: Resource, live: Any) -> None:
    """A shared one stays: its engines close it."""
    live = unmarked(live)
    if not resource.shared and hasattr(live, "close"):
        live.close()


def failure_of(error: Exception) -> Failure:
    """An exception as data: the node, the class of what was raised, and one line."""
    cause = error.cause if isinstance(error, StageError) else error
    return Failure(error.node if isinstance(error, StageError) else "", type(cause).__name__, told(error))
