"""Jobs: what Hydra calls for each job it has composed. Each becomes a point, and `work` says what becomes of points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from vllm_flow.config.composition import FlowLoader, typed
from vllm_flow.config.folders import point_folder
from vllm_flow.config.spec import spec_of
from vllm_flow.core.errors import ConfigError, Fault
from vllm_flow.core.option_checks import problems
from vllm_flow.core.options import build
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.spec import RunSpec
from vllm_flow.sweep.points import Outcome, Point
from vllm_flow.sweep.settings import Sweep

Work = Callable[[Sequence[Point], Sweep], Sequence[Outcome]]
"""Runs points, all at once if it can, as the section `sweep` says."""


@dataclass(frozen=True)
class Job:
    """One job of a sweep, composed and checked; nothing of it is written yet."""

    lines: Sequence[str]
    """What the sweeper said for it."""
    config: DictConfig
    """As Hydra composed it, with its own part under `hydra`."""
    task: DictConfig
    """The same without that part."""
    point: Point


class Jobs:
    """A task function of Hydra's, and more: `together` is for a launcher that knows us."""

    def __init__(self, loader: FlowLoader, work: Work) -> None:
        self._loader = loader
        self._work = work

    def __call__(self, config: DictConfig) -> Outcome:
        """One job, as any launcher calls it; raises what made it fail."""
        outcome = self.one(config)
        if outcome.error is not None:
            raise outcome.error
        return outcome

    def one(self, config: DictConfig) -> Outcome:
        """One job; what made it fail is in its outcome."""
        own = cast(DictConfig, HydraConfig.get())
        (outcome,) = self._work([self._point(config, own, Path(own.runtime.output_dir))], sweep_of(config))
        return outcome

    def together(self, jobs: Sequence[Job]) -> Sequence[Outcome]:
        return self._work([job.point for job in jobs], sweep_of(jobs[0].config))

    def checked(self, master: DictConfig, overrides: Sequence[Sequence[str]], first: int) -> list[Job]:
        """The jobs of these overrides, numbered from `first`. Writes nothing.

        Raises ConfigError with every fault of every one of them.
        """
        found: dict[Fault, list[int]] = {}
        jobs: list[Job] = []
        for number, lines in enumerate(overrides, first):
            config = self._composed(master, lines, number)
            try:
                jobs.append(self._job(lines, config))
                runnable(jobs[-1].point.spec)
            except ConfigError as error:
                for fault in error.faults:
                    found.setdefault(fault, []).append(number)
        for fault in _shared_folders(jobs):
            found.setdefault(fault, list(range(len(overrides))))
        if found:
            raise ConfigError(_at(fault, numbers, len(overrides)) for fault, numbers in found.items())
        return jobs

    def _composed(self, master: DictConfig, lines: Sequence[str], number: int) -> DictConfig:
        """With the job's number, which its folder is called by."""
        config = self._loader.load_sweep_config(master, list(lines))
        with open_dict(config):
            config.hydra.job.id, config.hydra.job.num = str(number), number
        return config

    def _job(self, lines: Sequence[str], config: DictConfig) -> Job:
        # References such as ${hydra:job.num} look there. `set_config` would copy what is under `hydra`.
        HydraConfig.instance().cfg = cast(Any, config)
        task = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        return Job(lines, config, task, self._point(task, config.hydra, point_folder(config)))

    def _point(self, config: DictConfig, own: DictConfig, folder: Path) -> Point:
        return Point(folder.absolute(), typed(own), spec_of(self._loader.composed(config, own), self._loader))


def sweep_of(config: DictConfig) -> Sweep:
    """The section `sweep` of a composed configuration. Raises ConfigError with every fault."""
    given = OmegaConf.to_container(config.sweep, resolve=True) if "sweep" in config else {}
    if found := problems(Sweep, given):
        raise ConfigError(Fault(".".join(("sweep", *one.path)), one.problem) for one in found)
    return build(Sweep, given)  # type: ignore[arg-type]  # a mapping, or there would be problems


def _shared_folders(jobs: Sequence[Job]) -> Iterator[Fault]:
    """A folder holds one record."""
    known: dict[Path, int] = {}
    for job in jobs:
        number = job.config.hydra.job.num
        if (other := known.setdefault(job.point.folder, number)) != number:
            problem = f"points {other} and {number} would have one folder. Put ${{hydra.job.num}} into it."
            yield Fault("hydra.sweep.subdir", problem)


def runnable(spec: RunSpec) -> None:
    """Raises ConfigError with every fault that can be found before a file is written."""
    Pipeline.build(spec).turns()


def _at(fault: Fault, numbers: Sequence[int], count: int) -> Fault:
    """A fault that not all points have says which have it."""
    if len(numbers) == count:
        return fault
    which = f"point{'' if len(numbers) == 1 else 's'} {', '.join(map(str, numbers))}"
    return replace(fault, origin=f"{fault.origin}, {which}" if fault.origin else which)


def value_at(config: DictConfig, key: str) -> Any:
    """What a composed configuration has at a dotted key, or chose for a group; None where it has nothing."""
    chosen = config.hydra.runtime.choices
    return chosen[key] if key in chosen else OmegaConf.select(config, key)
