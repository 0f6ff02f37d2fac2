"""Runs through Hydra, one or many, each in its own folder.

We drive Hydra's own class as `hydra.main` does, but without its process-wide habits: nothing is read from `sys.argv`,
no exception becomes an exit code, and no composition error is printed before we can say it in our words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import yaml
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig

from vllm_flow.config.composition import Composition, FlowLoader, composing
from vllm_flow.config.flags import hoisted
from vllm_flow.config.job import Jobs, Work, runnable, sweep_of
from vllm_flow.config.layers import PRIMARY
from vllm_flow.config.overrides import quoted, rewrite
from vllm_flow.config.spec import spec_of
from vllm_flow.config.sweeper import points_without_running
from vllm_flow.config.swept_origins import placed
from vllm_flow.core.errors import RecordError
from vllm_flow.core.record import refuse_used
from vllm_flow.sweep.points import Outcome, Point

PROGRAM = "vllm-flow"


def run_jobs(arguments: Sequence[str], work: Work) -> list[Outcome]:
    """Run the points that the command line asks for, as `vllm-flow [-m] key=value …` does; `work` does the running.

    Raises ConfigError with all faults before anything is written. `--cfg`, `--info`, `--help` and `--hydra-help` print
    and run nothing.
    """
    flags, overrides = hoisted(arguments)
    with composing() as loader, _installed(loader) as hydra:
        lines = rewrite(overrides, loader.groups)
        parser = get_args_parser()
        args = parser.parse_args([*flags, *lines])
        if args.help:
            hydra.app_help(PRIMARY, parser, args)
        elif args.hydra_help:
            hydra.hydra_help(PRIMARY, parser, args)
        elif args.cfg:
            hydra.show_cfg(PRIMARY, args.overrides, args.cfg, args.package, args.resolve)
        elif args.shell_completion:
            hydra.shell_completion(PRIMARY, args.overrides)
        elif args.info:
            hydra.show_info(args.info, PRIMARY, args.overrides)
        else:
            return _run(hydra, loader, lines, work, many=args.multirun)
    return []


def points_for(arguments: Sequence[str]) -> list[Point]:
    """The points that `run_jobs` would run, checked as there; nothing is written. Raises ConfigError, all faults."""
    flags, overrides = hoisted(arguments)
    with composing() as loader, _installed(loader) as hydra:
        lines = rewrite(overrides, loader.groups)
        first = loader.compose(lines, RunMode.MULTIRUN, sweeps=True)
        many = bool({"-m", "--multirun"}.intersection(flags)) or first.mode == RunMode.MULTIRUN
        with placed(first.written.origins):
            if not (many or sweep_of(first.config).is_one):
                return [Point(Path(), tuple(lines), spec_of(loader.compose(lines), loader))]
            master = hydra.compose_config(PRIMARY, [*lines, "hydra.mode=MULTIRUN"], RunMode.MULTIRUN)
            return points_without_running(HydraContext(loader, Callbacks(master)), master, Jobs(loader, lambda *_: ()))


def began_with(folder: Path) -> list[str]:
    """The command line of the sweep in a folder, with the folder for its own. Raises RecordError."""
    path = folder / "multirun.yaml"
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))["hydra"]["overrides"]
        return [*said["task"], *said["hydra"], f"hydra.sweep.dir={quoted(str(folder))}"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise RecordError(f"{path}: it cannot be read ({error}). Begin another sweep.") from None


def _run(hydra: Hydra, loader: FlowLoader, lines: list[str], work: Work, *, many: bool) -> list[Outcome]:
    first = loader.compose(lines, RunMode.MULTIRUN, sweeps=True)
    with placed(first.written.origins):
        return _all(hydra, loader, lines, work, first, many=many)


def _all(
    hydra: Hydra, loader: FlowLoader, lines: list[str], work: Work, first: Composition, *, many: bool
) -> list[Outcome]:
    many = many or first.mode == RunMode.MULTIRUN or sweep_of(first.config).is_one
    jobs, ended = Jobs(loader, work), list[Outcome]()
    if not many:
        composition = loader.compose(lines)
        runnable(spec_of(composition, loader))  # faults come before the first file
        refuse_used(composition.folder)
    try:
        if many:
            returns: Sequence[Sequence[JobReturn]] = hydra.multirun(PRIMARY, jobs, [*lines, "hydra.mode=MULTIRUN"])
            ended = [_outcome(one) for batch in returns for one in batch]
        else:
            hydra.run(PRIMARY, lambda config: ended.append(jobs.one(config)), [*lines, "hydra.mode=RUN"])
    except OSError as error:  # Hydra's own files: what a point raises stays in its outcome
        where = error.filename or ("hydra.sweep.dir" if many else "hydra.run.dir")  # a full disk names no file
        what = f"{where}: the job's folder cannot be written: {error.strerror}."
        raise RecordError(f"{what} Free space, or choose hydra.run.dir (hydra.sweep.dir for sweeps).") from error
    return ended


def _outcome(returned: JobReturn) -> Outcome:
    """Of a job that a launcher ran, in another process perhaps."""
    if returned.status == JobStatus.COMPLETED:
        return cast(Outcome, returned.return_value)
    folder = Path(cast(DictConfig, returned.hydra_cfg).hydra.runtime.output_dir)
    return Outcome(folder, tuple(returned.overrides or ()), "failed", error=returned._return_value)


@contextmanager
def _installed(loader: FlowLoader) -> Iterator[Hydra]:
    """Make this the process's Hydra for as long as it runs; launchers and resolvers look there."""
    surrounding = GlobalHydra.instance().hydra
    GlobalHydra.instance().hydra = None
    hydra = Hydra(task_name=PROGRAM, config_loader=loader)
    GlobalHydra.instance().initialize(hydra)
    try:
        yield hydra
    finally:
        GlobalHydra.instance().hydra = surrounding
