"""`vllm-flow judge DIR`: a model reads each answer of a sweep beside the baseline's, and says which it prefers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_flow.cli.words import is_terminal, json_line, one_folder, overrides_apart, table, take_flags, visible
from vllm_flow.core.errors import ConfigError, Fault

if TYPE_CHECKING:  # they take time to import, which --help can do without
    from vllm_flow.core.events import Event, Observer
    from vllm_flow.core.record import Record
    from vllm_flow.judge.asking import Asking
    from vllm_flow.judge.results import Judged
    from vllm_flow.sweep.points import Outcome, Point

HELP = """usage: vllm-flow judge DIR [--json] [key=value ...]

Asks a model of each answer of the sweep in the folder DIR whether it is better than the baseline's to the same prompt:
twice, in both orders, and only what it says both times counts; everything else is a tie. Prints, of each point, the
share of preferences over the baseline, and how often the judge agreed with itself. The judge is the pipeline `judge`;
choose its model as in a run, model=qwen say, or a pipeline of your own, pipeline=NAME.

Its record is DIR/judge, and what it says DIR/judge.json. The command again goes on with what was interrupted, and what
is complete is only read.

  --json   the numbers for other programs
"""
FLAGS = {"--json": "json", "--help": "help", "-h": "help"}
GIVEN = ("input", "sweep", "hydra")
EVERY = 50
"""Away from a terminal, a line each so many verdicts."""


def main(arguments: list[str]) -> int:
    flags, words = take_flags(arguments, FLAGS)
    if "help" in flags:
        print(HELP, end="")
        return 0
    given, overrides = _read(words)
    from vllm_flow.config import compose
    from vllm_flow.judge.asking import FOLDER, ask, checked, read_sweep
    from vllm_flow.judge.results import as_data, judgement, write
    from vllm_flow.judge.telling import sentences, trust
    from vllm_flow.judge.verdicts import read_verdicts

    folder = Path(given).absolute()
    sweep = read_sweep(folder)
    spec = checked(compose([*_pipeline(overrides), *overrides, "input=file", "input.path=pairs"]), folder / FOLDER)
    os.umask(0o077)  # a record is its owner's alone
    asking = ask(sweep, spec)
    if asking.pairs.asked and not asking.done:
        _run(asking)
    verdicts = read_verdicts(folder / FOLDER) if asking.pairs.asked else {}
    found = judgement(sweep, asking.pairs, verdicts)
    said = sentences(found)
    data = as_data(found, trust(found), said)
    path = write(data, folder)
    if "json" in flags:
        print(json_line(data))
    else:
        _print(found.points)
        for line in said:
            print(visible(line), file=sys.stderr)
        print(f"\n{os.path.join(given, path.name)}", file=sys.stderr)
    return 1 if any(one.failed for one in found.points) else 0


def _read(words: Sequence[str]) -> tuple[str, list[str]]:
    overrides, others = overrides_apart(words)
    folder, faults = one_folder(others, "a sweep")
    faults += [
        Fault(one, "the judge reads the answers of the sweep, once. Leave this out.", "command line")
        for one in overrides
        if one.lstrip("+~").partition("=")[0].partition(".")[0] in GIVEN
    ]
    if faults:
        raise ConfigError(faults)
    return folder, overrides


def _pipeline(overrides: Sequence[str]) -> list[str]:
    chosen = any(one.lstrip("+").partition("=")[0] == "pipeline" for one in overrides)
    return [] if chosen else ["pipeline=judge"]


def _run(asking: Asking) -> None:
    """Raises what made the run fail; turns that failed are in its record."""
    from vllm_flow.cli.progress import loading_shown
    from vllm_flow.core.engines import Engines
    from vllm_flow.sweep.fused import Fused

    watch = _Watch(2 * asking.pairs.asked)
    try:
        with Engines() as engines, loading_shown():
            (outcome,) = Fused(engines, watch).run([asking.point])
    except KeyboardInterrupt:
        print(f"\n{watch.done} of {watch.count} verdicts. Go on with the same command.", file=sys.stderr)
        raise
    if outcome.error is not None:
        raise outcome.error


@dataclass
class _Watch:
    """How many verdicts there are."""

    count: int
    done: int = 0

    def begin(self, point: Point, record: Record) -> Sequence[Observer]:
        from vllm_flow.core.events import TurnDone

        self.done = record.answered + record.failed
        terminal = is_terminal(sys.stderr)

        def hear(event: Event) -> None:
            if isinstance(event, TurnDone):
                self.done += 1
                if terminal:
                    print(f"\r{self.done} of {self.count} verdicts", end="", file=sys.stderr, flush=True)
                elif self.done % EVERY == 0 or self.done == self.count:
                    print(f"{self.done} of {self.count} verdicts", file=sys.stderr, flush=True)

        return (hear,)

    def end(self, outcome: Outcome) -> None:
        if is_terminal(sys.stderr):
            print(file=sys.stderr)


def _print(points: Sequence[Judged]) -> None:
    head = ["point", "preferred to the baseline", "", "wins", "ties", "losses", "orders agree", "not readable"]
    table((list(map(visible, _row(one))) for one in points), head)


def _row(one: Judged) -> list[str]:
    share = "–" if one.preference is None else _share(one.preference)
    interval = "" if one.interval is None else f" [{', '.join(map(_share, one.interval))}]"
    agreement: Any = one.consistency.agreement
    return [
        " ".join([one.name, *(f"{key}={value}" for key, value in one.values.items())]),
        f"{share}{interval}",
        one.verdict,
        *map(str, (one.wins, one.ties, one.losses)),
        "–" if agreement is None else f"{_share(agreement)} of {one.consistency.pairs}",
        str(one.unreadable),
    ]


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"
