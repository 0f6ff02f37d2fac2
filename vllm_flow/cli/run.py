"""`vllm-flow [run] [-m] key=value …`: compose, check, run, record. One run or many take the same way."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vllm_flow.cli.progress import loading_shown
from vllm_flow.cli.watching import OneWatch, SweepWatch, shown, summary
from vllm_flow.core.engines import Engines
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.record import Record
from vllm_flow.core.revision import Revision
from vllm_flow.core.spec import RunSpec
from vllm_flow.sweep.fused import Fused
from vllm_flow.sweep.index import FILE as INDEX
from vllm_flow.sweep.index import swept_in
from vllm_flow.sweep.points import Outcome, Point, PointsFailed, titled
from vllm_flow.sweep.search import Found
from vllm_flow.sweep.settings import Sweep

HELP = """usage: vllm-flow [run] [-m] [--json] [--fail-fast] [key=value ...]

Composes the configuration, checks all of it, runs the pipeline over its input and writes a record.
Choose with group=name (pipeline, model, engine, sampling, context, store, input, experiment), change a value with
key=value. `-m` runs every combination of comma-separated values, all at once. `vllm-flow ls` shows the choices.

  input.text="…"       one question          input.path=FILE    rows: jsonl, csv, parquet
  input=stdin          lines from a pipe     seed=1             other random numbers
  sweep.repeat=N       N answers to each     sweep.zip={…}      values side by side, not crossed
  sweep.search.trials=N  look for the best of what is swept, with Optuna
  --json               results as JSON lines on stdout
  --fail-fast          stop at the first turn that fails; `vllm-flow resume DIR` goes on
"""
NAMED = 3
"""How many files the warning names."""
FLAGS = {"--fail-fast": "sweep.fail_fast=true"}


@dataclass
class Play:
    """Runs points in this process, all at once; what they share of engines stays open from one batch to the next."""

    as_json: bool
    engines: Engines = field(default_factory=Engines)
    spec: RunSpec | None = None
    """Of the last point."""
    _warned: bool = False

    def __call__(self, points: Sequence[Point], sweep: Sweep) -> list[Outcome]:
        """Ctrl-C finishes the records as interrupted."""
        self.spec = points[-1].spec
        many = len(points) > 1
        watch = SweepWatch(points, self.as_json, self._warning) if many else OneWatch(self.as_json, self._warning)
        with watch, _term_is_ctrl_c(), loading_shown():
            return Fused(self.engines, watch, sweep.fail_fast).run(points)

    def _warning(self, record: Record) -> str:
        said, self._warned = "" if self._warned else unrepeatable(record.revision), True
        return said


@contextmanager
def _term_is_ctrl_c() -> Iterator[None]:
    """While no event loop listens for SIGTERM."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(arguments: list[str]) -> int:
    if "--help" in arguments or "-h" in arguments:
        print(HELP, end="")
        return 0
    from vllm_flow.config import run_jobs

    as_json = "--json" in arguments
    os.umask(0o077)  # a record is its owner's alone, the files Hydra writes included
    words = [FLAGS.get(word, word) for word in arguments if word != "--json"]
    with Engines() as engines:
        play = Play(as_json, engines)
        outcomes = run_jobs(words, play)
    if len(outcomes) == 1 and outcomes[0].error is None and not outcomes[0].failed and not as_json and play.spec:
        _say_next(play.spec, arguments)
    return ended(outcomes)


def ended(outcomes: Sequence[Outcome]) -> int:
    """Exit code 1 where a turn has no answer. Raises what made the only point fail, or PointsFailed."""
    failures = [one for one in outcomes if one.error is not None]
    if len(outcomes) == 1 and outcomes[0].error is not None:
        raise outcomes[0].error
    if len(outcomes) > 1:
        answered, failed = (sum(getattr(one, name) for one in outcomes) for name in ("answered", "failed"))
        folder = swept_in(one.folder for one in outcomes)
        where = shown(folder)
        left = sum(one.status in ("interrupted", "not run") for one in outcomes)
        rest = f"; {left} not run" if left else ""
        print(f"\n{len(outcomes)} points, {summary(answered, failed)}: {where}{rest}", file=sys.stderr)
        _say_best(folder)
        if (folder / INDEX).exists():
            then = "resume" if left or failures else "report"
            print(f"Next: vllm-flow {then} {shlex.quote(where)}", file=sys.stderr)
    if failures:
        raise PointsFailed(failures)
    return 1 if any(one.failed for one in outcomes) else 0


def _say_best(folder: Path) -> None:
    """Of a search."""
    found = Found.read(folder)
    if found is not None:
        said, best = f"no point has a value of '{found.metric}'", found.best
        if best is not None:
            said = f"best {found.metric} {best.value:.6g}: {titled(best.overrides)} in {shown(best.point)}"
        print(f"{found.done} of {found.trials} trials; {said}", file=sys.stderr)


def unrepeatable(revision: Revision | None) -> str:
    """Why the commit that the project is at does not give this run again; empty when it does."""
    if revision is None or not revision.changed:
        return ""
    names = ", ".join(revision.changed[:NAMED])
    more = f" and {left} more" if (left := len(revision.changed) - NAMED) > 0 else ""
    where = f"not as in commit {revision.commit[:8]}" if revision.commit else "not in any commit"
    return f"warning: {names}{more}: {where}, so the run cannot be repeated from version control. Commit first."


def _say_next(spec: RunSpec, arguments: Sequence[str]) -> None:
    """With the engine and the model that ran, or the next command would load another."""
    kept = [shlex.quote(word) for word in arguments if re.match(r"(engine|model)[.=]", word)]
    same = " ".join([f"pipeline={spec.name}", *kept])
    reads = Pipeline.build(spec).graph.inputs
    samples = "sampling" in reads  # else there is nothing to draw, and no talk to be had
    asked = "input.audio=FILE" if "transcriber" in reads and not samples else 'input.text="Tell me about the sea."'
    chat, sampling = (f"  vllm-flow chat {same}\n", " sampling=creative") if samples else ("", "")
    print(
        f"Next:\n{chat}  vllm-flow {same}{sampling} {asked}\n  vllm-flow check {same}",
        file=sys.stderr,
    )
