"""The judge's run: a record in `judge` in the sweep's folder, begun, gone on with, or found complete.

What is there is never replaced: verdicts of another judge, or on other answers, are somebody's work.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from vllm_flow.core.differences import differences
from vllm_flow.core.errors import ConfigError, Fault, RecordError
from vllm_flow.core.files import ESCAPED, replaced
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.ports import fits, type_name
from vllm_flow.core.recorded import Recorded, read
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.surroundings import code_of, versions
from vllm_flow.judge.pairing import Pairs, write_pairs
from vllm_flow.stages.judge import Preference
from vllm_flow.sweep.index import Index, varied
from vllm_flow.sweep.points import Point

FOLDER = "judge"
PAIRS = "pairs.jsonl"
"""The questions, in the folder of the judge's run, which reads them as its input."""


@dataclass(frozen=True)
class Sweep:
    """What of a sweep can be judged."""

    folder: Path
    names: tuple[str, ...]
    """Of all points."""
    values: tuple[Mapping[str, str], ...]
    """Of all points, the keys that not all have alike."""
    baseline: str
    folders: Mapping[str, Path]
    """Of the points that have finished, the baseline among them."""
    left_out: Mapping[str, str]
    """The other points, and why."""


def read_sweep(folder: Path) -> Sweep:
    """Raises RecordError for what is no sweep, or has nothing to compare."""
    index = Index.read(folder)
    names = tuple(one.folder for one in index.points)
    folders, left_out = dict[str, Path](), dict[str, str]()
    for name in names:
        if why := _why_not(folder / name):
            left_out[name] = why
        else:
            folders[name] = folder / name
    baseline = names[index.baseline]
    if baseline in left_out:
        what = f"the baseline, point {baseline}, cannot be compared with: {left_out[baseline]}"
        raise RecordError(f"{folder}: {what}. Go on with: vllm-flow resume {folder}")
    if len(folders) < 2:
        what = f"no point has finished beside the baseline, {baseline}, so there is nothing to compare"
        raise RecordError(f"{folder}: {what}. Judge a sweep of two points or more.")
    values = tuple(varied([one.overrides for one in index.points]))
    return Sweep(folder, names, values, baseline, folders, left_out)


def _why_not(folder: Path) -> str:
    """Why a point is not judged; empty when it is."""
    if not (folder / "run.json").exists():
        return "not run"
    try:
        status = str(read(folder).run["status"])
    except RecordError as error:
        return str(error)
    return "" if status == "finished" else f"{'running, or was killed' if status == 'running' else status}"


def checked(spec: RunSpec, folder: Path) -> RunSpec:
    """The judge's configuration, with the pairs in `folder` for its input. Raises ConfigError."""
    spec = replace(spec, input={"use": "input/file", "path": str(folder / PAIRS)})
    made = Pipeline.build(spec).graph.output_type
    if not fits(made, Preference):
        found = f"the output of pipeline '{spec.name}', {spec.output}, is a {type_name(made)} and no Preference"
        what = f"{found}. End it as pipelines/judge.yaml does: output: verdict, made by judge/verdict."
        raise ConfigError([Fault("output", what, spec.origin(("output",)))])
    return spec


@dataclass(frozen=True)
class Asking:
    """What is to be asked."""

    pairs: Pairs
    point: Point
    done: bool
    """Whether all of it has been."""


def ask(sweep: Sweep, spec: RunSpec) -> Asking:
    """Write the questions and say what is left of them. Raises RecordError where others have been asked before."""
    folder = sweep.folder / FOLDER
    begun = _begun(folder)
    try:
        folder.mkdir(exist_ok=True, mode=0o700)
        if begun is None:
            (folder / "config.yaml").unlink(missing_ok=True)  # of a process that was killed before its first turn
            with replaced(folder / PAIRS) as file:
                pairs = write_pairs(sweep.folders, sweep.baseline, file)
        else:
            with TemporaryFile("w+", encoding="utf-8", errors=ESCAPED, newline="\n", dir=folder) as fresh:
                pairs = write_pairs(sweep.folders, sweep.baseline, fresh)
                found = list(_other(begun, spec, fresh))
            if found:
                lines = "".join(f"\n  {line}" for line in found)
                keep = f"Move {folder} away to judge anew"
                raise RecordError(
                    f"{folder}: it holds verdicts that were asked for otherwise. {keep}. What differs:{lines}"
                )
    except OSError as error:
        raise RecordError(f"{folder}: it cannot be written: {error.strerror or error}. Free space.") from error
    done = begun is not None and begun.run["status"] == "finished"
    return Asking(pairs, Point(folder, (), spec, resume=True), done)


def _begun(folder: Path) -> Recorded | None:
    """The judge's run, if it has begun."""
    return read(folder) if (folder / "run.json").exists() else None


def _other(begun: Recorded, spec: RunSpec, fresh: IO[str]) -> Iterator[str]:
    """What is not as it was, one line each. Of a run that is complete neither versions nor its place matter."""
    done = begun.run["status"] == "finished"
    then, now = begun.spec.content(), spec.content()
    pairs: list[tuple[Any, Any]] = [({"code": begun.run.get("code", {})}, {"code": code_of(spec)})]
    if done:
        then.pop("input"), now.pop("input")
    else:
        pairs.append(({"versions": begun.run.get("versions", {})}, {"versions": versions()}))
    for before, after in ((then, now), *pairs):
        for path, (old, new) in differences(before, after).items():
            said = "another content" if path[0] == "code" else f"{old} → {new}"
            yield f"{'.'.join(path)}: {said}"
    fresh.seek(0)
    with (begun.folder / PAIRS).open(encoding="utf-8", newline="\n") as asked:
        same = all(one == other for one, other in zip_longest(asked, fresh))
    if not same:
        yield "the answers: they are others than when they were judged"


def told_of(begun: Path) -> dict[str, Any]:
    """Who judged, as the record says."""
    run = json.loads((begun / "run.json").read_text(encoding="utf-8"))
    return {"pipeline": run["pipeline"], "resources": run.get("resources", {}), "fingerprint": run["fingerprint"]}
