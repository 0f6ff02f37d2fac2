"""The sweeper that is ours: finds the points, checks all of them before the first file, and goes on when one fails."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from vllm_flow.config.axes import flat, points_of
from vllm_flow.config.composition import typed
from vllm_flow.config.folders import sweep_folder
from vllm_flow.config.job import Job, Jobs, sweep_of, value_at
from vllm_flow.config.launcher import FusedLauncher
from vllm_flow.config.searching import Checked, Searching
from vllm_flow.config.space import space_of
from vllm_flow.core.errors import ConfigError, Fault, FlowError, told
from vllm_flow.core.record import refuse_used
from vllm_flow.sweep.index import Index, refuse_swept
from vllm_flow.sweep.points import LaunchFailed, Point
from vllm_flow.sweep.settings import Search, Sweep

T = TypeVar("T")
HOME = "hydra_plugins.vllm_flow"
"""Hydra instantiates launchers and sweepers of this name space only."""


class FlowSweeper(Sweeper):
    """Every point of `sweep`, crossed with what `-m` and `hydra.sweeper.params` sweep."""

    def __init__(self, max_batch_size: int | None = None, params: Mapping[str, str] | None = None) -> None:
        self.max_batch_size = max_batch_size
        self.params = params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.master = hydra_context, task_function, config
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        said, seed = self._said(arguments), str(self.master.get("seed"))
        folder = sweep_folder(self.master)
        if not isinstance(self.task, Jobs):  # another's program, which has no section `sweep`
            overrides = points_of(Sweep(), said, seed)
            self._begin(folder)
            return list(self._batches(overrides, self.launcher.launch))
        settings, checked = sweep_of(self.master), partial(self.task.checked, self.master)
        if settings.search is not None:
            return self._searched(checked, settings, settings.search, said, folder, seed)
        jobs = checked(points_of(settings, said, seed), 0)
        index = self._index(folder, jobs, settings)
        self._begin(folder)
        with index:
            returns = list(self._batches(jobs, self._launch, settings.fail_fast))
            if any(one.status != JobStatus.COMPLETED for batch in returns for one in batch):
                index.status = "failed"
        return returns

    def planned(self, arguments: list[str], jobs: Jobs) -> list[Point]:
        """The points, checked; of a search those that it can only find while it runs are none."""
        settings = sweep_of(self.master)
        if settings.search is not None:
            raise ConfigError([Fault("sweep.search", "a search finds its points while it runs. Plan without it.")])
        overrides = points_of(settings, self._said(arguments), str(self.master.get("seed")))
        return [job.point for job in jobs.checked(self.master, overrides, 0)]

    def _said(self, arguments: list[str]) -> list[Override]:
        parser = OverridesParser.create(config_loader=self.context.config_loader)
        return parser.parse_overrides([*(f"{key}={value}" for key, value in self.params.items()), *arguments])

    def _searched(  # noqa: PLR0917  what a sweep knows when it begins
        self, checked: Checked, settings: Sweep, search: Search, said: list[Override], folder: Path, seed: str
    ) -> list[Sequence[JobReturn]]:
        fixed, space = space_of(settings, said)
        size = min(search.batch, self.max_batch_size or search.batch)
        searching = Searching(
            replace(search, batch=size), fixed, space, folder, seed, checked, self._launch, settings.fail_fast
        )
        return searching.run(lambda: self._begin(folder))

    def _begin(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.master, folder / "multirun.yaml")

    def _batches(
        self, jobs: Sequence[T], launch: Callable[[Sequence[T], int], Sequence[JobReturn]], fail_fast: bool = False
    ) -> Iterator[Sequence[JobReturn]]:
        size = self.max_batch_size or max(1, len(jobs))
        size = 1 if fail_fast and not self._stops_by_itself else size
        for start in range(0, len(jobs), size):
            batch = launch(jobs[start : start + size], start)
            yield batch
            if fail_fast and any(one.status != JobStatus.COMPLETED for one in batch):
                return

    @property
    def _stops_by_itself(self) -> bool:
        """Whether the launcher stops a batch at the first failure."""
        job = self.master.hydra.job
        return isinstance(self.launcher, FusedLauncher) and not (job.chdir or job.env_set)

    def _launch(self, jobs: Sequence[Job], first: int) -> Sequence[JobReturn]:
        try:
            if isinstance(self.launcher, FusedLauncher):
                return self.launcher.launch_checked(jobs)
            return self.launcher.launch([job.lines for job in jobs], initial_job_idx=first)
        except (FlowError, OSError):
            raise
        except Exception as error:
            if isinstance(self.launcher, BasicLauncher):
                raise
            what = f"the launcher gave up ({told(error)}). Go on with what is left: vllm-flow resume"
            raise LaunchFailed(f"{what} {self.master.hydra.sweep.dir}") from error

    @staticmethod
    def _index(folder: Path, jobs: Sequence[Job], settings: Sweep) -> Index:
        baseline = _baseline([job.config for job in jobs], flat(settings.baseline))
        refuse_swept(folder)
        for job in jobs:
            refuse_used(job.point.folder)
        return Index.of(folder, [job.point for job in jobs], baseline, settings.fail_fast)


def points_without_running(context: HydraContext, master: DictConfig, jobs: Jobs) -> list[Point]:
    """What the sweeper that a configuration names would launch. Raises ConfigError where it is none of ours."""
    sweeper = Plugins.instance().instantiate_sweeper(hydra_context=context, task_function=jobs, config=master)
    if not isinstance(sweeper, FlowSweeper):
        raise ConfigError([Fault("hydra/sweeper", "only hydra/sweeper=flow knows its points beforehand. Choose it.")])
    return sweeper.planned(list(typed(master.hydra)), jobs)


def _baseline(configs: Sequence[DictConfig], wanted: Mapping[str, Any]) -> int:
    found = [place for place, one in enumerate(configs) if all(value_at(one, key) == wanted[key] for key in wanted)]
    if not found:
        raise ConfigError([Fault("sweep.baseline", "no point has these values. Give those of one of the points.")])
    return found[0]


def install() -> None:
    """Register launcher and sweeper, as `hydra/launcher=fused` and `hydra/sweeper=flow`."""
    options: dict[str, dict[str, Any]] = {"launcher": {}, "sweeper": {"max_batch_size": None, "params": None}}
    module = _home()
    for group, name, plugin in (("launcher", "fused", FusedLauncher), ("sweeper", "flow", FlowSweeper)):
        plugin.__module__ = HOME
        setattr(module, plugin.__name__, plugin)
        Plugins.instance().register(plugin)
        node = {"_target_": f"{HOME}.{plugin.__name__}", **options[group]}
        ConfigStore.instance().store(group=f"hydra/{group}", name=name, node=node, provider="vllm-flow")


def _home() -> types.ModuleType:
    """A module that is in no file: a file would be imported by every program that uses Hydra."""
    above = HOME.partition(".")[0]
    try:
        importlib.import_module(above)  # there is one where another plugin is installed
    except ModuleNotFoundError:
        sys.modules[above] = types.ModuleType(above)
        sys.modules[above].__path__ = []
    return sys.modules.setdefault(HOME, types.ModuleType(HOME))
