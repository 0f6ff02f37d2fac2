"""Jobs: runs through Hydra, one or many, each in its own folder.

We drive Hydra's own class as `hydra.main` does, but without its process-wide habits: nothing is read from `sys.argv`,
no exception becomes an exit code, and no composition error is printed before we can say it in our words. A job that
fails is kept until all are done, because Hydra's sweeper stops at the first and forgets the others.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import cast

from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from vllm_flow.config.composition import FlowLoader, composing, typed
from vllm_flow.config.flags import hoisted
from vllm_flow.config.layers import PRIMARY
from vllm_flow.config.overrides import rewrite
from vllm_flow.config.spec import spec_of
from vllm_flow.core.errors import FlowError, RecordError, told
from vllm_flow.core.spec import RunSpec

PROGRAM = "vllm-flow"
MAX_SHOWN = 120
Task = Callable[[RunSpec, Path], None]
Check = Callable[[RunSpec], object] | None


@dataclass(frozen=True)
class JobFailure:
    """One job that did not end well."""

    folder: Path
    overrides: tuple[str, ...]
    cause: Exception

    def __str__(self) -> str:
        overrides = shorten(" ".join(line.lstrip("+") for line in self.overrides), MAX_SHOWN, placeholder=" …")
        return f"{self.folder} ({overrides}): {told(self.cause)}"


class JobsFailed(FlowError):
    """Some jobs of a sweep failed; the others are done. One line for each."""

    def __init__(self, failures: Sequence[JobFailure]) -> None:
        self.failures = tuple(failures)
        super().__init__("\n".join(map(str, self.failures)))


def run_jobs(arguments: Sequence[str], task: Task, check: Check) -> None:
    """Run `task` once for each job that the command line asks for, as `vllm-flow [-m] key=value …` does.

    `check` sees the spec of a single job first, and what it raises comes before anything is written.
    Raises ConfigError before any job starts, what the task raised when it was the only job, and JobsFailed when jobs of
    a sweep failed, each with a folder that holds its log. `--cfg`, `--info`, `--help` and `--hydra-help` print and run
    nothing.
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
            _run(hydra, loader, lines, task, check, many=args.multirun)


def _run(hydra: Hydra, loader: FlowLoader, lines: list[str], task: Task, check: Check, *, many: bool) -> None:
    first = loader.compose(lines, RunMode.MULTIRUN, sweeps=True)
    many = many or first.mode == RunMode.MULTIRUN
    if not many:
        spec = spec_of(loader.compose(lines), loader)  # faults come before the first file
        if check is not None:
            check(spec)
    failures: list[JobFailure] = []

    def job(config: DictConfig) -> None:
        own = cast(DictConfig, HydraConfig.get())
        folder, overrides = Path(own.runtime.output_dir), typed(own)
        with _log_file(folder) as log_file:
            try:
                task(spec_of(loader.composed(config, own), loader), folder)
            except Exception as error:  # every kind: the other jobs go on, and the caller gets it in the end
                _write_down(error, log_file)
                failures.append(JobFailure(folder, overrides, error))

    start, mode = (hydra.multirun, "MULTIRUN") if many else (hydra.run, "RUN")
    try:
        start(PRIMARY, job, [*lines, f"hydra.mode={mode}"])
    except OSError as error:  # Hydra's own files: what a task raises stays in its job
        where = error.filename or ("hydra.sweep.dir" if many else "hydra.run.dir")  # a full disk names no file
        what = f"{where}: the job's folder cannot be written: {error.strerror}."
        raise RecordError(f"{what} Free space, or choose hydra.run.dir (hydra.sweep.dir for sweeps).") from error
    if failures:
        raise JobsFailed(failures) if many else failures[0].cause


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


class _JobLog(logging.FileHandler):
    """A log that a full disk cuts short. What it lacks is on the terminal; a second fault would hide the first."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def _log_file(folder: Path) -> Iterator[logging.FileHandler]:
    """Our own log messages also go into the job's folder, in a file that exists once there is one."""
    handler = _JobLog(folder / f"{PROGRAM}.log", encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("vllm_flow")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        handler.close()


def _write_down(error: Exception, log_file: logging.FileHandler) -> None:
    """The traceback belongs into the job's log, and not onto the terminal."""
    text = str(error) if isinstance(error, FlowError) else "".join(traceback.format_exception(error)).rstrip()
    log_file.handle(logging.makeLogRecord({"name": "vllm_flow", "levelname": "ERROR", "levelno": 40, "msg": text}))
