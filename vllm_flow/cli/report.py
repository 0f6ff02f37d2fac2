"""`vllm-flow report DIR`: what a sweep or a run has shown, on the terminal and as a page; winners run again."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vllm_flow.cli.words import one_folder, overrides_apart, table, take_flags, visible
from vllm_flow.core.errors import ConfigError, Fault, told

if TYPE_CHECKING:  # they import numpy, which --help can do without
    from vllm_flow.core.events import Observer
    from vllm_flow.core.record import Record
    from vllm_flow.report.judging import Measured
    from vllm_flow.report.reading import Sweep
    from vllm_flow.sweep.points import Outcome, Point

HELP = """usage: vllm-flow report DIR [--confirm] [--json] [--png] [metrics=NAME ...]

Scores every answer of the sweep, or of the run, in the folder DIR and compares the points with the baseline. Prints a
table and what it shows, and writes DIR/report.html: one page that needs no network. metrics=exact, or any override
below `metrics`, measures that in place of what was configured.

  --confirm   run the winners again, and the baseline, with a fresh seed: only then is a point called better
  --json      the numbers for other programs
  --png       the plots as pictures, in DIR/plots (needs matplotlib)
"""
FLAGS = {"--confirm": "confirm", "--json": "json", "--png": "png", "--help": "help", "-h": "help"}


def main(arguments: list[str]) -> int:
    flags, words = take_flags(arguments, FLAGS)
    if "help" in flags:
        print(HELP, end="")
        return 0
    given, overrides = _read(words)
    from vllm_flow.report.reading import directory_of

    folder = Path(given).absolute()
    directory, project = directory_of(folder)
    os.umask(0o077)
    with contextlib.chdir(directory if directory.is_dir() else Path.cwd()):
        metrics = _other_metrics(folder, overrides, project) if overrides else None
        return _report(folder, given, flags, metrics)


def _read(words: Sequence[str]) -> tuple[str, list[str]]:
    overrides, others = overrides_apart(words)
    folder, faults = one_folder(others)
    strange = [one for one in overrides if one.lstrip("+").partition("=")[0].partition(".")[0] != "metrics"]
    faults += [Fault(one, "a record stays as it is. Only metrics can be chosen again: metrics=…") for one in strange]
    if faults:
        raise ConfigError(faults)
    return folder, overrides


def _other_metrics(folder: Path, overrides: Sequence[str], project: str) -> Mapping[str, Any]:
    """Those that the overrides choose, on the code of the record."""
    from vllm_flow.config import compose
    from vllm_flow.core.metrics import metrics_of
    from vllm_flow.report.reading import any_spec

    chosen, spec = compose(overrides, project or None), any_spec(folder)
    plugins = {**spec.plugins, **chosen.plugins}
    return metrics_of(dataclasses.replace(spec, metrics=chosen.metrics, plugins=plugins, origins=chosen.origins))


def _report(folder: Path, given: str, flags: set[str], metrics: Mapping[str, Any] | None) -> int:
    from vllm_flow.report.answers import embedded
    from vllm_flow.report.confirming import with_confirmations
    from vllm_flow.report.data import as_data
    from vllm_flow.report.judging import judge
    from vllm_flow.report.preferences import preferences
    from vllm_flow.report.reading import read_sweep
    from vllm_flow.report.telling import sentences
    from vllm_flow.report.writing import write_page

    sweep = read_sweep(folder, metrics)
    measured = judge(sweep)
    code = _confirm(sweep, measured) if "confirm" in flags else 0
    measured, of_confirming = with_confirmations(sweep, measured, metrics)
    said = [*sentences(sweep, measured, given), *of_confirming, *preferences(sweep, given)]
    data = as_data(sweep, measured, said)
    page = write_page(data, dataclasses.asdict(embedded(sweep)), folder)
    if "png" in flags:
        _write_pictures(data, folder / "plots")
    if "json" in flags:
        print(json.dumps(data, ensure_ascii=not (sys.stdout.encoding or "").lower().startswith("utf")))
        return code
    _print(data)
    for line in said:
        print(visible(line), file=sys.stderr)
    print(f"\n{os.path.join(given, page.name)}", file=sys.stderr)
    return code


def _print(data: Mapping[str, Any]) -> None:
    from vllm_flow.report.telling import number, with_interval

    shown = [one for one in data["metrics"] if one["name"] in data["headline"]]
    head = ["point"]
    for one in shown:
        head += [one["name"], *(["against the baseline"] if data["kind"] == "sweep" else [])]
    head += ["tokens", "s an answer"]
    seconds = next((one["cells"] for one in data["metrics"] if one["name"] == "seconds"), None)
    rows = []
    for place, point in enumerate(data["points"]):
        values = " ".join(f"{key}={value}" for key, value in point["values"].items())
        status = "" if point["finished"] else f" ({point['status']})"
        row = [f"{point['name']} {values}".strip() + status]
        for one in shown:
            cell = one["cells"][place]
            row.append(with_interval(cell["mean"], cell["interval"]))
            if data["kind"] == "sweep":
                row.append("baseline" if place == data["baseline"] else _against(cell))
        cost = point["cost"]
        row.append(number(cost["completion_tokens"]) if cost["requests"] and not cost["unknown"] else "–")
        row.append(number(seconds[place]["mean"]) if seconds else "–")
        rows.append([visible(text) for text in row])
    table(rows, head, varies=True)


def _against(cell: Mapping[str, Any]) -> str:
    from vllm_flow.report.telling import number

    difference = number(cell["difference"], signed=True)
    return f"{difference} {cell['verdict']}" if cell["verdict"] else difference


def _confirm(sweep: Sweep, measured: Sequence[Measured]) -> int:
    """Exit code 1 where a turn or a point failed."""
    from vllm_flow.cli.progress import loading_shown
    from vllm_flow.core.engines import Engines
    from vllm_flow.report.confirming import begin_again, winners
    from vllm_flow.sweep.fused import Fused
    from vllm_flow.sweep.resume import Left

    places = winners(measured) if sweep.index else ()
    if not places:
        print("Nothing is better at first, so there is nothing to confirm.", file=sys.stderr)
        return 0
    with Engines() as engines, begin_again(sweep, places) as index, loading_shown():
        left = Left.read(index.folder).points
        outcomes = Fused(engines, _Confirming(len(left))).run(left)
        if any(one.error for one in outcomes):
            index.status = "failed"
    return 1 if any(one.error or one.failed for one in outcomes) else 0


@dataclass
class _Confirming:
    """A line for each point that ends."""

    count: int
    ended: int = 0

    def begin(self, point: Point, record: Record) -> Sequence[Observer]:
        return ()

    def end(self, outcome: Outcome) -> None:
        self.ended += 1
        what = told(outcome.error) if outcome.error else outcome.status
        print(f"[{self.ended}/{self.count}] {outcome.folder.name} with fresh seeds: {visible(what)}", file=sys.stderr)


def _write_pictures(data: Mapping[str, Any], folder: Path) -> None:
    """Without matplotlib the report is whole but for them."""
    from vllm_flow.report.pictures import write_pictures

    try:
        written = write_pictures(data, folder)
    except ModuleNotFoundError:
        print('--png: matplotlib is not installed. Install it: pip install "vllm-flow[plot]".', file=sys.stderr)
        return
    print("\n".join(map(str, written)) or "--png: there is nothing to draw.", file=sys.stderr)
