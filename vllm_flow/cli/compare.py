"""`vllm-flow compare A B`: two recorded runs, from their configuration down to their answers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from vllm_flow.cli.words import json_line, take_flags, visible
from vllm_flow.core.differences import ABSENT
from vllm_flow.core.errors import ConfigError, Fault, FlowError
from vllm_flow.core.recorded import read
from vllm_flow.replay.compare import Comparison, KeyDifference, compare, marked

if TYPE_CHECKING:
    from vllm_flow.report.judging import Measured

HELP = """usage: vllm-flow compare A B [--json]

What differs between two recorded runs: keys of the configuration and where each value was written; commit, versions
and weights; the first stage whose inputs or value differ; the answers, with examples; and each metric, with an interval
for the difference. A and B are folders of runs, or of points of a sweep. Whatever differs, the exit code is 0.

  --json   the same as one JSON object
"""
SHOWN = 400
"""Characters of an example."""
BEFORE = 40
MARK = re.compile(r"\[-|\{\+")


def main(arguments: list[str]) -> int:
    flags, words = take_flags(arguments, {"--json": "json", "--help": "help", "-h": "help"})
    if "help" in flags:
        print(HELP, end="")
        return 0
    if len(words) != 2:
        raise ConfigError([Fault("compare", f"it takes two folders of runs, not {len(words)}. Write compare A B.")])
    folders = [Path(word) for word in words]
    found = compare(*(read(folder) for folder in folders))
    overrides = [_overrides(folder) for folder in folders]
    measured, problems = _measured(*folders)
    if "json" in flags:
        metrics = {one.name: dataclasses.asdict(one.cells[1]) | {"first": one.cells[0].mean} for one in measured}
        told = {"overrides": overrides, "metrics": metrics, "problems": problems}
        print(json_line({**dataclasses.asdict(found), **told}))
        return 0
    for line in (*_of_overrides(words, overrides), *_lines(found), *_of_metrics(measured, problems)):
        print(visible(line))
    return 0


def _measured(first: Path, second: Path) -> tuple[tuple[Measured, ...], list[str]]:
    """Each metric of both, and how they differ; then how far that can be trusted, or why it cannot be said."""
    from vllm_flow.report.judging import judge
    from vllm_flow.report.reading import read_pair
    from vllm_flow.report.telling import remarks

    try:
        pair = read_pair(first, second)
        measured = judge(pair)
    except FlowError as error:
        return (), [f"not compared. {error}"]
    return measured, remarks(pair, measured)


def _of_metrics(measured: Sequence[Measured], problems: Sequence[str]) -> Iterator[str]:
    """Those that were asked for, and those that differ; times are of the batch, and no property of a run."""
    if not measured:
        yield from ("", *(f"metrics: {one}" for one in problems))
        return
    shown = [
        one
        for one in measured
        if one.configured or (one.cells[0].mean != one.cells[1].mean and not one.use.startswith("time/"))
    ]
    if shown:
        yield from ("", "metrics: first → second, and the difference with its 95 % interval")
    for one in shown:
        before, after = one.cells
        said = f"  {one.name}: {_number(before.mean)} → {_number(after.mean)}"
        if after.difference_interval is not None:
            low, high = after.difference_interval
            said += f", {_number(after.difference, '+')} [{_number(low, '+')}, {_number(high, '+')}]"
        yield f"{said}, {after.verdict}" if after.verdict else said
    yield from (f"  {one}" for one in problems)


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.4g}"


def _overrides(folder: Path) -> list[str] | None:
    """What was said on the command line; None for a run that had none."""
    try:
        said = yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None
    return [str(one) for one in said] if isinstance(said, list) else None


def _of_overrides(words: list[str], overrides: list[list[str] | None]) -> Iterator[str]:
    for name, word, said in zip("AB", words, overrides, strict=True):
        yield f"{name}  {word}" + (f"  ({' '.join(said)})" if said else "")


def _lines(found: Comparison) -> Iterator[str]:
    yield from _block("configuration", found.keys)
    yield from _block("run", found.facts)
    yield ""
    if found.stage is not None:
        one = found.stage
        where = f"turn {one.turn} of {one.conversation}"
        if not one.node:
            yield f"first difference: what was asked in {where}"
        elif one.inputs:
            name = f"{one.node} ({one.use})"
            yield f"first stage whose inputs differ: {name}, {where}: {', '.join(one.inputs)}"
        else:
            yield f"first stage whose value differs, of equal inputs: {one.node} ({one.use}), {where}"
    if found.course is not None:
        at = found.course
        where = f"token {at.token} of {at.node}, turn {at.turn} of {at.conversation}"
        yield f"first value in force that differs: sampling.{at.parameter} at {where}: {at.first} → {at.second}"
    yield _outputs(found)
    for example in found.examples:
        yield f"turn {example.turn} of {example.conversation}"
        yield f"  {_cut(marked(example.first, example.second))}"


def _block(what: str, differences: tuple[KeyDifference, ...]) -> Iterator[str]:
    yield ""
    yield f"{what}: {f'{len(differences)} differ' if differences else 'equal'}"
    for one in differences:
        yield f"  {one.key}: {_value(one.first, one.first_origin)} → {_value(one.second, one.second_origin)}"


def _value(text: str, origin: str) -> str:
    return f"{text} ({origin})" if origin and text != ABSENT else text


def _outputs(found: Comparison) -> str:
    rows = f"{found.paired} row{'' if found.paired == 1 else 's'}"
    said = f"outputs: all equal, {rows}" if not found.differing else f"outputs: {found.differing} of {rows} differ"
    only = [f"{count} only in {name}" for name, count in zip("AB", found.unpaired, strict=True) if count]
    return ", ".join([said, *only])


def _cut(text: str) -> str:
    """The text in one line, from a little before its first mark on."""
    line = " ".join(text.split("\n"))
    mark = MARK.search(line)
    start = max(0, mark.start() - BEFORE) if mark else 0
    return f"{'…' if start else ''}{line[start : start + SHOWN]}{'…' if len(line) > start + SHOWN else ''}"
