"""A search through Hydra: batch by batch, points are proposed, run by the launcher, and their values told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hydra.core.utils import JobReturn, JobStatus

from vllm_flow.config.job import Job
from vllm_flow.config.space import probes
from vllm_flow.core.errors import ConfigError, Fault, FlowError, RecordError
from vllm_flow.evaluation.objective import Objective, objective
from vllm_flow.sweep.index import FILE, Index
from vllm_flow.sweep.points import Point
from vllm_flow.sweep.search import Dimension, Proposed, Trials, need_optuna
from vllm_flow.sweep.settings import Search

Checked = Callable[[list[list[str]], int], list[Job]]
"""The jobs of overrides, numbered from a first one. Raises ConfigError, and writes nothing."""


@dataclass
class Searching:
    """One search in one folder; where there is one already, it goes on."""

    settings: Search
    fixed: tuple[str, ...]
    space: Sequence[Dimension]
    folder: Path
    seed: str
    checked: Checked
    launch: Callable[[Sequence[Job], int], Sequence[JobReturn]]
    fail_fast: bool = False

    def run(self, begin: Callable[[], None]) -> list[Sequence[JobReturn]]:
        """What became of each point, by batches. Raises ConfigError before the first file; then calls `begin`."""
        need_optuna()
        first, *_ = self.checked(list(probes(self.fixed, self.space)), 0)
        self._objective = objective(self.settings.metric, first.point.spec)
        self._value = self._objective.of
        settings = replace(self.settings, direction=self.settings.direction or _direction(self._objective))
        index = self._index(first.point)
        begin()
        trials = Trials(settings, self.space, self.folder, self.seed)
        batches: list[Sequence[JobReturn]] = []
        with index:
            waiting = self._ended_before(index, trials)
            trials.write()
            while batch := [*waiting, *trials.ask(self.settings.batch - len(waiting))]:
                waiting = []
                batches.append(self._batch(batch, index, trials))
                failed = any(one.status != JobStatus.COMPLETED for one in batches[-1])
                index.status = "failed" if failed else index.status
                if failed and self.fail_fast:
                    break
        return batches

    def _index(self, first: Point) -> Index:
        """Of a search that begins, or the one in the folder."""
        if not (self.folder / FILE).exists():
            index = Index.of(self.folder, [first])
            index.points.clear()  # the first is only what the others are told apart from
            return index
        index = Index.read(self.folder)
        if index.content != first.spec.content():
            problem = (
                "a search goes on only with the configuration that it began with. Begin another, in another folder."
            )
            raise RecordError(f"{self.folder}: {problem}")
        return index

    def _ended_before(self, index: Index, trials: Trials) -> list[Proposed]:
        """Tells what came of points that an interrupted search has run; those that it has not are waiting."""
        listed = {self.folder / one.folder for one in index.points}
        waiting = []
        for one in trials.open():
            if one.point in listed:
                trials.tell(one, self._value(one.point))
            else:
                waiting.append(one)
        return waiting

    def _batch(self, batch: Sequence[Proposed], index: Index, trials: Trials) -> Sequence[JobReturn]:
        overrides, first = [[*self.fixed, *one.overrides] for one in batch], len(index.points)
        jobs = self.checked(overrides, first)
        points = [job.point for job in jobs]
        for one, point in zip(batch, points, strict=True):
            trials.begun(one, point.folder)
        index.points += map(index.listed, points)
        index.write()
        returns = self.launch(jobs, first)
        values = [self._value(point.folder) for point in points]
        for one, value in zip(batch, values, strict=True):
            trials.tell(one, value)
        trials.write()
        if not trials.have_values:
            problem = f"no point has a value of '{self.settings.metric}', so there is nothing to go by."
            output = "Choose a pipeline whose output is a score, or name a metric: sweep.search.metric=…."
            other = "Choose another metric, or give the rows what it asks for."
            raise FlowError(f"{self.folder}: {problem} {output if self._objective.of_output else other}")
        return returns


def _direction(metric: Objective) -> Literal["maximize", "minimize"]:
    """What the metric says. Raises ConfigError where it takes no side."""
    if metric.higher_is_better is None:
        problem = f"whether '{metric.metric}' is to be high or low is for you to say: maximize or minimize."
        raise ConfigError([Fault("sweep.search.direction", problem)])
    return "maximize" if metric.higher_is_better else "minimize"
