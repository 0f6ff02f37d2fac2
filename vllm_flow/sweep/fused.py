"""The fused sweep: the turns of all points are in flight at once, so an engine batches them as it batches any requests.

There is no batch of points anywhere: every point is a Runner and a Record of its own in one event loop. An engine that
points configure alike is opened once, and reads a prompt that they share once. A point therefore gives the same bytes
alone, in any company and after a resume.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import FlowError
from vllm_flow.core.events import Observer
from vllm_flow.core.record import Record
from vllm_flow.core.revision import Revisions
from vllm_flow.core.runner import Runner
from vllm_flow.core.unfinished import Unfinished
from vllm_flow.core.values import TurnFailed
from vllm_flow.sweep.logs import point_log
from vllm_flow.sweep.points import Outcome, Point

AT_ONCE = 64
"""How many points are open at once: each has some files open, and a process may have about a thousand."""


class Watch(Protocol):
    """Who is told of each point; a screen."""

    def begin(self, point: Point, record: Record) -> Sequence[Observer]:
        """A point begins; what is returned hears its events."""
        ...

    def end(self, outcome: Outcome) -> None: ...


@dataclass
class _Job:
    """A point about to run."""

    point: Point
    runner: Runner
    turns: Any
    unfinished: Unfinished | None

    @property
    def shared(self) -> list[Any]:
        """Options of the engines that it needs."""
        return [one.options for one in self.runner.pipeline.resources.values() if one.shared]


@dataclass
class Fused:
    """Runs points. Those that share their engines run together; engines that the next do not need are closed."""

    engines: Engines
    watch: Watch
    fail_fast: bool = False
    """Stop all at the first turn or point that fails; the others end as interrupted, and can be resumed."""
    _ended: dict[int, Outcome] = field(default_factory=dict)
    _revised: Revisions = field(default_factory=Revisions)

    def run(self, points: Sequence[Point]) -> list[Outcome]:
        """What became of each point, in their order. One that fails is told in its outcome, and the others go on.

        Raises KeyboardInterrupt when it is interrupted, also by SIGTERM; every record then says so.
        """
        self._ended.clear()
        prepared = (self._prepared(place, point) for place, point in enumerate(points))
        for group in _grouped([(place, job) for place, job in enumerate(prepared) if job]):
            if not self._stopping:
                self._run_group(group)
        return [
            self._ended.get(place, Outcome(point.folder, point.overrides, "not run"))
            for place, point in enumerate(points)
        ]

    @property
    def _stopping(self) -> bool:
        return self.fail_fast and any(one.failed or one.error for one in self._ended.values())

    def _prepared(self, place: int, point: Point) -> _Job | None:
        try:
            runner = Runner(point.spec, self.engines)
            unfinished = Unfinished.read(point.folder, point.retry_errors) if point.resume else None
            return _Job(point, runner, runner.pipeline.turns(), unfinished)
        except FlowError as error:
            self._end(place, _failed(point, error))
            return None

    def _run_group(self, group: dict[int, _Job]) -> None:
        try:
            # Opened before there is a loop: it would put Ctrl-C off until the weights are there.
            self.engines.keep([options for job in group.values() for options in job.shared])
            for job in group.values():
                for options in job.shared:
                    self.engines.open(options)
        except (Exception, KeyboardInterrupt) as error:
            self._never_began(group, error)
            if isinstance(error, KeyboardInterrupt):
                raise
            return
        try:
            with asyncio.Runner() as loop:
                loop.run(self._all(group))
        except asyncio.CancelledError:  # SIGTERM
            raise KeyboardInterrupt from None

    def _never_began(self, group: dict[int, _Job], error: BaseException) -> None:
        for place, job in group.items():
            if job.unfinished is None:
                Record(job.point.folder, job.point.spec, None, self._revised).end(error)
            if isinstance(error, Exception):
                self._end(place, _failed(job.point, error))

    async def _all(self, group: dict[int, _Job]) -> None:
        this = asyncio.current_task()
        if this is not None and os.name == "posix":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
        slots, open_at_once = asyncio.Semaphore(AT_ONCE), min(AT_ONCE, len(group))

        async def one(place: int, job: _Job) -> None:
            async with slots:
                # Shares are equal, so that the points go through their rows abreast and meet at each prompt.
                share = max(1, job.point.spec.concurrency // open_at_once)
                try:
                    outcome = await self._point(job, share)
                except asyncio.CancelledError:
                    self._end(place, Outcome(job.point.folder, job.point.overrides, "interrupted"))
                    raise
                self._end(place, outcome)

        tasks = [asyncio.create_task(one(place, job)) for place, job in group.items()]
        try:
            for ended in asyncio.as_completed(tasks):
                await ended
                if self._stopping:
                    return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _point(self, job: _Job, share: int) -> Outcome:
        point, record = job.point, None
        with point_log(point.folder) as written:
            try:
                with Record(point.folder, point.spec, job.unfinished, self._revised) as record:
                    job.runner.observers = (record, *self.watch.begin(point, record))
                    with job.runner:
                        await self._answer(job, share)
                return Outcome(point.folder, point.overrides, "finished", record.answered, record.failed)
            except Exception as error:
                written(error)
                counts = (record.answered, record.failed) if record else (0, 0)
                return _failed(point, error, *counts)

    async def _answer(self, job: _Job, share: int) -> None:
        turns = job.turns
        if job.unfinished is not None:
            job.runner.restore(job.unfinished.commits())
            turns = job.unfinished.left(turns)
        async with aclosing(job.runner.run(turns, share)) as results:
            async for result in results:
                if result.failure is not None and self.fail_fast:
                    raise TurnFailed(result)

    def _end(self, place: int, outcome: Outcome) -> None:
        self._ended[place] = outcome
        self.watch.end(outcome)


def _failed(point: Point, error: Exception, answered: int = 0, failed: int = 0) -> Outcome:
    return Outcome(point.folder, point.overrides, "failed", answered, failed, error)


def _grouped(jobs: Iterable[tuple[int, _Job]]) -> Iterator[dict[int, _Job]]:
    """Jobs by the engines they need, in the order in which each kind comes first."""
    kinds: list[tuple[list[Any], dict[int, _Job]]] = []
    for place, job in jobs:
        known = next((group for shared, group in kinds if shared == job.shared), None)  # options may have no hash
        if known is None:
            kinds.append((job.shared, known := {}))
        known[place] = job
    return iter([group for _, group in kinds])
