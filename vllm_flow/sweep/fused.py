"""The fused sweep: the turns of all points are in flight at once, so an engine batches them as it batches any requests.

There is no batch of points anywhere: every point is a Runner and a Record of its own in one event loop. An engine that
points configure alike is opened once, and reads a prompt that they share once. A point therefore gives the same bytes
alone, in any company and after a resume.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import FlowError
from vllm_flow.core.events import Observer
from vllm_flow.core.media_of import Shelf
from vllm_flow.core.record import Record
from vllm_flow.core.results import TurnFailed
from vllm_flow.core.revision import Revisions
from vllm_flow.core.runner import Runner
from vllm_flow.core.unfinished import Unfinished
from vllm_flow.sweep.groups import by_engines, shared
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

    @property
    def shared(self) -> list[Any]:
        return shared(self.runner.pipeline)


@dataclass
class Fused:
    """Runs points. Those that share their engines run together; engines that the next do not need are closed."""

    engines: Engines
    watch: Watch
    fail_fast: bool = False
    """Stop all at the first turn or point that fails; the others end as interrupted, and can be resumed."""
    _ended: dict[int, Outcome] = field(default_factory=dict)
    _revised: Revisions = field(default_factory=Revisions)
    _shelf: Shelf = field(default_factory=Shelf)

    def run(self, points: Sequence[Point]) -> list[Outcome]:
        """What became of each point, in their order. One that fails is told in its outcome, and the others go on.

        Raises KeyboardInterrupt when it is interrupted, also by SIGTERM; every record then says so.
        """
        self._ended.clear()
        jobs = {place: job for place, point in enumerate(points) if (job := self._prepared(place, point))}
        for group in by_engines({place: job.runner.pipeline for place, job in jobs.items()}):
            if not self._stopping:
                self._run_group({place: jobs[place] for place in group})
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
            return _Job(point, runner, runner.pipeline.turns())
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
            if not (job.point.resume and (job.point.folder / "config.yaml").exists()):
                self._record(job.point).end(error)
            if isinstance(error, Exception):
                self._end(place, _failed(job.point, error))

    async def _all(self, group: dict[int, _Job]) -> None:
        # What may be in flight is shared equally, so that points go through their rows abreast and meet at each prompt.
        allowed = min(job.point.spec.concurrency for job in group.values())
        open_at_once = min(AT_ONCE, len(group), allowed)
        slots, share = asyncio.Semaphore(open_at_once), allowed // open_at_once

        async def one(place: int, job: _Job) -> None:
            async with slots:
                try:
                    outcome = await self._point(job, share)
                except asyncio.CancelledError:
                    self._end(place, Outcome(job.point.folder, job.point.overrides, "interrupted"))
                    raise
                self._end(place, outcome)

        with _sigterm_cancels():
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
                with self._record(point) as record:
                    job.runner.observers = (record, *self.watch.begin(point, record))
                    with job.runner:
                        await self._answer(job, record.unfinished, share)
                return Outcome(point.folder, point.overrides, "finished", record.answered, record.failed)
            except Exception as error:
                written(error)
                counts = (record.answered, record.failed) if record else (0, 0)
                return _failed(point, error, *counts)

    def _record(self, point: Point) -> Record:
        return Record(
            point.folder,
            point.spec,
            resume=point.resume,
            retry_errors=point.retry_errors,
            revised=self._revised,
            shelf=self._shelf,
        )

    async def _answer(self, job: _Job, unfinished: Unfinished | None, share: int) -> None:
        turns = job.turns
        if unfinished is not None:
            job.runner.restore(unfinished.commits())
            turns = unfinished.left(turns)
        async with aclosing(job.runner.run(turns, share)) as results:
            async for result in results:
                if result.failure is not None and self.fail_fast:
                    raise TurnFailed(result)

    def _end(self, place: int, outcome: Outcome) -> None:
        self._ended[place] = outcome
        self.watch.end(outcome)


@contextmanager
def _sigterm_cancels() -> Iterator[None]:
    """SIGTERM cancels the task that this is in, where signals are heard at all; afterwards it means what it did."""
    task, main = asyncio.current_task(), threading.current_thread() is threading.main_thread()
    if task is None or not main or os.name != "posix":
        yield
        return
    before, loop = signal.getsignal(signal.SIGTERM), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)


def _failed(point: Point, error: Exception, answered: int = 0, failed: int = 0) -> Outcome:
    return Outcome(point.folder, point.overrides, "failed", answered, failed, error)
