"""The launcher that is ours: a thin adapter between Hydra and `vllm_flow.sweep`.

It composes all jobs, hands their points over at once, and lets Hydra make of each outcome what it makes of a job:
folder, `.hydra/`, callbacks, JobReturn. A task function that is not ours, or a job that wants a working directory or an
environment of its own, which a process has only one of, is launched one by one as Hydra's own launcher does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from vllm_flow.config.folders import point_folder
from vllm_flow.config.job import Jobs, numbered
from vllm_flow.sweep.points import Outcome


class FusedLauncher(BasicLauncher):
    """Runs all jobs at once in this process."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        jobs, context = self.task_function, cast(HydraContext, self.hydra_context)
        if isinstance(jobs, Jobs):
            setup_globals()
            compose, master = context.config_loader.load_sweep_config, cast(DictConfig, self.config)
            pairs = enumerate(job_overrides, initial_job_idx)
            configs = [numbered(compose(master, list(lines)), number) for number, lines in pairs]
            if not any(one.hydra.job.chdir or one.hydra.job.env_set for one in configs):
                outcomes = jobs.together([_prepared(one) for one in configs])
                return [self._returned(config, outcome) for config, outcome in zip(configs, outcomes, strict=True)]
        return super().launch(job_overrides, initial_job_idx)

    def _returned(self, config: DictConfig, outcome: Outcome) -> JobReturn:
        """What Hydra makes of a job that has ended."""

        def ended(_: DictConfig) -> Outcome:
            if outcome.error is not None:
                raise outcome.error
            return outcome

        keys = {"job_dir_key": "hydra.sweep.dir", "job_subdir_key": "hydra.sweep.subdir"}
        context = cast(HydraContext, self.hydra_context)
        return run_job(ended, config, hydra_context=context, configure_logging=False, **keys)


def _prepared(config: DictConfig) -> DictConfig:
    """With its folder, and in it what was asked for, so that a process that is killed leaves that."""
    HydraConfig.instance().set_config(config)  # references such as ${hydra:job.num} look there
    own = config.hydra
    folder = point_folder(config)
    with read_write(own.runtime), open_dict(own.runtime):
        own.runtime.output_dir = str(folder)
    if own.output_subdir is not None:
        (folder / own.output_subdir).mkdir(parents=True, exist_ok=True)
        OmegaConf.save(own.overrides.task, folder / own.output_subdir / "overrides.yaml")
    return config
