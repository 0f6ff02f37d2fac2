"""The launcher that is ours: a thin adapter between Hydra and `vllm_flow.sweep`.

It hands the points of all jobs over at once, and lets Hydra make of each outcome what it makes of a job: folder,
`.hydra/`, callbacks, JobReturn. Jobs that a sweeper has composed to check them are not composed again. A task function
that is not ours, or a job that wants a working directory or an environment of its own, which a process has only one of,
is launched one by one as Hydra's own launcher does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from vllm_flow.config.job import Job, Jobs
from vllm_flow.sweep.points import Outcome


class FusedLauncher(BasicLauncher):
    """Runs all jobs at once in this process."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        if isinstance(self.task_function, Jobs):
            setup_globals()
            master = cast(DictConfig, self.config)
            return self.launch_checked(self.task_function.checked(master, job_overrides, initial_job_idx))
        return super().launch(job_overrides, initial_job_idx)

    def launch_checked(self, jobs: Sequence[Job]) -> Sequence[JobReturn]:
        """`launch`, of jobs of ours."""
        if any(job.config.hydra.job.chdir or job.config.hydra.job.env_set for job in jobs):
            return super().launch([job.lines for job in jobs], jobs[0].config.hydra.job.num)
        for job in jobs:
            _prepare(job)
        outcomes = cast(Jobs, self.task_function).together(jobs)
        return [self._returned(job.config, outcome) for job, outcome in zip(jobs, outcomes, strict=True)]

    def _returned(self, config: DictConfig, outcome: Outcome) -> JobReturn:
        """What Hydra makes of a job that has ended."""

        def ended(_: DictConfig) -> Outcome:
            if outcome.error is not None:
                raise outcome.error
            return outcome

        keys = {"job_dir_key": "hydra.sweep.dir", "job_subdir_key": "hydra.sweep.subdir"}
        context = cast(HydraContext, self.hydra_context)
        return run_job(ended, config, hydra_context=context, configure_logging=False, **keys)


def _prepare(job: Job) -> None:
    """Write what was asked for into its folder, so that a process that is killed leaves that."""
    own = job.config.hydra
    if own.output_subdir is not None:
        folder = job.point.folder / own.output_subdir
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(own.overrides.task, folder / "overrides.yaml")
