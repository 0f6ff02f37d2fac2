"""Reads a sweep, or a single run as a sweep of one point: what was varied, how each point ended, its scores and cost.

A point that has not finished keeps its place and says so; it has scores of what is there, and these are compared with
nothing, since answers that came first are not a fair sample of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from vllm_flow.core.errors import RecordError
from vllm_flow.core.metrics import ALWAYS, Metric, metrics_of
from vllm_flow.core.recorded import Recorded, read
from vllm_flow.core.spec import RunSpec
from vllm_flow.evaluation.answers import requests_of
from vllm_flow.evaluation.scores import Scores
from vllm_flow.evaluation.scoring import score_run
from vllm_flow.sweep.index import FILE, Index, varied
from vllm_flow.sweep.resume import Left


@dataclass(frozen=True)
class Cost:
    """What the requests of one point took."""

    requests: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt tokens, those that were not read again."""
    completion_tokens: int = 0
    unknown: int = 0
    """Requests of which the engine told no tokens; they are in none of the sums."""
    wall_s: float | None = None
    """From the point's begin to its end, while others ran beside it; None where it was interrupted in between."""


@dataclass(frozen=True)
class Swept:
    """One point as it was found."""

    name: str
    """Its folder, below that of the sweep."""
    folder: Path
    values: Mapping[str, str]
    """The keys that not all points have alike, as they were written."""
    seed: int
    status: str
    """`finished`, `failed`, `interrupted`, `running` (or killed), `not run` or `unreadable`."""
    run: Mapping[str, Any] = field(default_factory=dict)
    """Its `run.json`."""
    scores: Scores | None = None
    """None where there is nothing to score."""
    cost: Cost = field(default_factory=Cost)

    @property
    def finished(self) -> bool:
        return self.status == "finished" and self.scores is not None

    @property
    def answered(self) -> int:
        return int(self.run.get("turns", {}).get("answered", 0))

    @property
    def stored(self) -> int:
        """Of the answered, those that the store had and no engine was asked for."""
        return int(self.run.get("turns", {}).get("stored", 0))

    @property
    def failed(self) -> int:
        return int(self.run.get("turns", {}).get("failed", 0))

    @property
    def title(self) -> str:
        said = ", ".join(f"{key}={value}" for key, value in self.values.items())
        return f"{self.name} ({said})" if said else self.name


@dataclass(frozen=True)
class Sweep:
    """All that was found in a folder."""

    folder: Path
    points: tuple[Swept, ...]
    baseline: int
    configured: tuple[str, ...]
    """Metrics that somebody asked for, beside those that are always there."""
    index: Index | None
    """None for a single run."""
    problems: tuple[str, ...] = ()
    unlike: frozenset[str] = frozenset()
    """Metrics that not all points define alike: measures of one name between which there is no difference to take."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What was varied."""
        return tuple(dict.fromkeys(key for point in self.points for key in point.values))

    @property
    def first(self) -> Mapping[str, Any]:
        """The `run.json` of the first point that has one."""
        return next((point.run for point in self.points if point.run), {})


def directory_of(folder: Path) -> tuple[Path, str]:
    """Where the run or the sweep was started, and its project; paths in the configuration are relative to the first.

    Raises RecordError for a folder that is neither.
    """
    left = Left.read(folder)
    return left.directory, left.project


def any_spec(folder: Path) -> RunSpec:
    """What the run was, or the first point of the sweep. Raises RecordError."""
    index = Index.read(folder) if (folder / FILE).exists() else None
    return index.spec(index.points[0]) if index else read(folder).spec


def read_sweep(folder: Path, metrics: Mapping[str, Metric] | None = None) -> Sweep:
    """Score every point, with `metrics` or those of its own record, and read what it cost.

    Call it where the sweep was started. Raises RecordError for a folder that holds neither a sweep nor a run, and
    ConfigError for metrics that there are no more.
    """
    if not (folder / FILE).exists():
        recorded = read(folder)
        spec, problems = recorded.spec, list[str]()
        point = _point(folder, "", {}, spec.seed, metrics, problems=problems, strict=True)
        return Sweep(folder, (point,), 0, _configured([spec.metrics], metrics), None, tuple(problems))
    index = Index.read(folder)
    problems, points = [], []
    specs, titles = [index.spec(one) for one in index.points], varied([one.overrides for one in index.points])
    for listed, values, spec in zip(index.points, titles, specs, strict=True):
        points.append(_point(folder / listed.folder, listed.folder, values, spec.seed, metrics, problems=problems))
    configured, unlike = _configured([spec.metrics for spec in specs], metrics), _unlike(specs, metrics)
    again = f"Score all alike: vllm-flow report {folder.name} metrics=NAME."
    problems += [f"{name}: not all points define it alike, so none is compared by it. {again}" for name in unlike]
    return Sweep(folder, tuple(points), index.baseline, configured, index, tuple(problems), frozenset(unlike))


def read_pair(first: Path, second: Path) -> Sweep:
    """Two runs as a sweep of two points, the first its baseline. Raises what `read_sweep` raises of a run."""
    specs, problems = [read(folder).spec for folder in (first, second)], list[str]()
    pairs = zip((first, second), "AB", specs, strict=True)
    points = [_point(folder, name, {}, spec.seed, None, problems=problems, strict=True) for folder, name, spec in pairs]
    configured, unlike = _configured([spec.metrics for spec in specs], None), _unlike(specs, None)
    problems += [f"{name}: the two runs define it differently, so they are not compared by it." for name in unlike]
    return Sweep(first, tuple(points), 0, configured, None, tuple(problems), frozenset(unlike))


def _configured(specs: Sequence[Mapping[str, Any]], metrics: Mapping[str, Metric] | None) -> tuple[str, ...]:
    if metrics is not None:
        return tuple(name for name in metrics if name not in ALWAYS)
    return tuple(dict.fromkeys(str(name) for one in specs for name in one))


def _unlike(specs: Sequence[RunSpec], metrics: Mapping[str, Metric] | None) -> list[str]:
    """Names under which one spec measures something else than another, by itself or by what it reads."""
    if metrics is not None or all(spec.metrics == specs[0].metrics for spec in specs):
        return []
    tables = [metrics_of(spec) for spec in specs]
    first = {name: metric for table in reversed(tables) for name, metric in table.items()}
    found = {name for table in tables for name, metric in table.items() if metric != first[name]}
    while reading := {name for name, metric in first.items() if found & {*metric.sources.values()}} - found:
        found |= reading
    return [name for name in first if name in found]


def _point(
    folder: Path,
    name: str,
    values: Mapping[str, str],
    seed: int,
    metrics: Mapping[str, Metric] | None,
    *,
    problems: list[str],
    strict: bool = False,
) -> Swept:
    if not (folder / "run.json").exists():
        return Swept(name, folder, values, seed, "not run")
    try:
        recorded = read(folder)
        scores = score_run(folder, metrics)
        problems += scores.problems
        cost = _cost(recorded)
    except RecordError as error:  # one broken record is no reason to show none
        if strict:
            raise
        problems.append(str(error))
        return Swept(name, folder, values, seed, "unreadable")
    return Swept(name or folder.name, folder, values, seed, str(recorded.run["status"]), recorded.run, scores, cost)


def _cost(recorded: Recorded) -> Cost:
    rows = list(requests_of(recorded))
    known = [row for row in rows if row["completion_tokens"] is not None and row["prompt_tokens"] is not None]
    run = recorded.run
    whole = run.get("finished") and run["status"] == "finished" and "resumed" not in run
    took = datetime.fromisoformat(run["finished"]) - datetime.fromisoformat(run["started"]) if whole else None
    return Cost(
        requests=len(rows),
        prompt_tokens=sum(row["prompt_tokens"] for row in known),
        cached_tokens=sum(row["cached_tokens"] for row in known),
        completion_tokens=sum(row["completion_tokens"] for row in known),
        unknown=len(rows) - len(known),
        wall_s=took.total_seconds() if took is not None else None,
    )
