"""`vllm-flow [run] [-m] key=value …`: compose, check, run, record. One run or many take the same way."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vllm_flow.cli.progress import loading_shown
from vllm_flow.cli.screen import Screen
from vllm_flow.core.engines import Engines
from vllm_flow.core.flow import Item
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.record import Record
from vllm_flow.core.revision import Revision
from vllm_flow.core.runner import Runner
from vllm_flow.core.spec import RunSpec

HELP = """usage: vllm-flow [run] [-m] [--json] [key=value ...]

Composes the configuration, checks all of it, runs the pipeline over its input and writes a record.
Choose with group=name (pipeline, model, engine, sampling, context, store, input, experiment), change a value with
key=value. `-m` runs every combination of comma-separated values. `vllm-flow ls` shows the choices.

  input.text="…"       one question          input.path=FILE    rows of a jsonl file
  input=stdin          lines from a pipe     seed=1             other random numbers
  --json               results as JSON lines on stdout
"""
NAMED = 3
"""How many files the warning names."""


@dataclass
class Play:
    """Runs jobs one after another in this process; they share their engines, so a model is loaded once."""

    as_json: bool
    engines: Engines
    folders: list[Path] = field(default_factory=list)
    pipeline: str = ""
    samples: bool = True
    """Whether the pipeline draws anything, so that it can be talked with and sampling matters."""
    failed: int = 0

    def job(self, spec: RunSpec, folder: Path) -> None:
        """One job, from its spec to its finished record. Ctrl-C finishes the record as interrupted."""
        screen = Screen(as_json=self.as_json)
        runner = Runner(spec, self.engines)
        turns = runner.pipeline.turns()  # the last of the faults that come before the first file is written
        with Record(folder, spec) as record:
            if not self.folders and (warning := unrepeatable(record.revision)):
                screen.status(warning)
            self.folders.append(folder)
            self.pipeline, self.samples = spec.name, "sampling" in runner.pipeline.graph.inputs
            runner.observers = (record, screen)
            try:
                # Opened before there is a loop: it would put Ctrl-C off until the weights are there.
                with _term_is_ctrl_c(), loading_shown(), runner, asyncio.Runner() as loop:
                    loop.run(_answer_all(runner, turns))
            except asyncio.CancelledError:  # SIGTERM
                raise KeyboardInterrupt from None
        self.failed += screen.failed
        screen.status(f"\n{summary(record)}: {shown(folder)}")


async def _answer_all(runner: Runner, turns: Iterable[Item] | AsyncIterable[Item]) -> None:
    task = asyncio.current_task()
    if task is not None and os.name == "posix":
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async for _ in runner.run(turns):
        pass


@contextmanager
def _term_is_ctrl_c() -> Iterator[None]:
    """While no event loop listens for SIGTERM."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _runnable(spec: RunSpec) -> None:
    Pipeline.build(spec).turns()


def main(arguments: list[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(HELP, end="")
        return 0
    from vllm_flow.config import run_jobs

    as_json = "--json" in arguments
    os.umask(0o077)  # a record is its owner's alone, the files Hydra writes included
    with Engines() as engines:
        play = Play(as_json, engines)
        run_jobs([word for word in arguments if word != "--json"], play.job, _runnable)
    if len(play.folders) == 1 and not as_json and not play.failed:
        _say_next(play, arguments)
    return 1 if play.failed else 0


def summary(record: Record) -> str:
    """`3 turns answered`, `1 turn answered, 2 failed`."""
    said = f"{record.answered} turn{'' if record.answered == 1 else 's'} answered"
    return f"{said}, {record.failed} failed" if record.failed else said


def unrepeatable(revision: Revision | None) -> str:
    """Why the commit that the project is at does not give this run again; empty when it does."""
    if revision is None or not revision.changed:
        return ""
    names = ", ".join(revision.changed[:NAMED])
    more = f" and {left} more" if (left := len(revision.changed) - NAMED) > 0 else ""
    where = f"not as in commit {revision.commit[:8]}" if revision.commit else "not in any commit"
    return f"warning: {names}{more}: {where}, so the run cannot be repeated from version control. Commit first."


def shown(folder: Path) -> str:
    """A folder as the user would type it from here."""
    return os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)


def _say_next(play: Play, arguments: Sequence[str]) -> None:
    """With the engine and the model that ran, or the next command would load another."""
    kept = [shlex.quote(word) for word in arguments if re.match(r"(engine|model)[.=]", word)]
    same = " ".join([f"pipeline={play.pipeline}", *kept])
    chat, sampling = (f"  vllm-flow chat {same}\n", " sampling=creative") if play.samples else ("", "")
    print(
        f'Next:\n{chat}  vllm-flow {same}{sampling} input.text="Tell me about the sea."\n  vllm-flow check {same}',
        file=sys.stderr,
    )
