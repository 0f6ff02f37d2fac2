"""Winners run again on fresh seeds: which points those are, and what came of it.

They lie in `confirm` in the sweep's folder, as a sweep of their own, whose first point is the baseline. The fresh seed
follows from the sweep, so that asking again goes on with the same answers and does not draw until one is pleasant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vllm_flow.core.differences import differences
from vllm_flow.core.metrics import Metric
from vllm_flow.report.judging import Measured, confirmed
from vllm_flow.report.reading import Sweep, read_sweep
from vllm_flow.sweep.index import FILE, Index
from vllm_flow.sweep.points import Point

FOLDER = "confirm"


def winners(measured: Sequence[Measured]) -> tuple[int, ...]:
    """Points that are better at first by a metric that was asked for."""
    return tuple(dict.fromkeys(place for one in measured if one.configured for place in one.winners))


def begin_again(sweep: Sweep, places: Sequence[int]) -> Index:
    """The sweep of the baseline and these points with a seed that no point had, and of what was confirmed before.

    Entered, it is what `Left.read` of its folder goes on with.
    """
    if sweep.index is None:
        raise ValueError("sweep: a single run has nothing to be compared with.")
    folder = sweep.folder / FOLDER
    known = [one.folder for one in Index.read(folder).points] if (folder / FILE).exists() else []
    wanted = [place for place, one in enumerate(sweep.points) if one.name in known or place in places]
    order = [sweep.baseline, *(place for place in wanted if place != sweep.baseline)]
    folder.mkdir(exist_ok=True, mode=0o700)
    return Index.of(folder, [_again(sweep, sweep.index, place, folder) for place in order])


def _again(sweep: Sweep, index: Index, place: int, folder: Path) -> Point:
    seed = 1 + max(point.seed for point in sweep.points)
    listed = index.points[place]
    kept = tuple(line for line in listed.overrides if line.lstrip("+").partition("=")[0] != "seed")
    spec = replace(index.spec(listed), seed=seed)
    return Point(folder / listed.folder, (*kept, f"seed={seed}"), spec)


def with_confirmations(
    sweep: Sweep, measured: Sequence[Measured], metrics: Mapping[str, Metric] | None = None
) -> tuple[tuple[Measured, ...], list[str]]:
    """The metrics with what fresh seeds said, and what has to be known about that, one sentence each."""
    folder = sweep.folder / FOLDER
    if not (folder / FILE).exists():
        return tuple(measured), []
    fresh = read_sweep(folder, metrics)
    said = [*fresh.problems, *_changed(sweep, fresh)]
    names = {point.name: place for place, point in enumerate(sweep.points)}
    if fresh.points[0].name != sweep.points[sweep.baseline].name:
        return tuple(measured), [*said, f"{folder}: it was made with another baseline, and counts for nothing."]
    served = [point.name for point in fresh.points if point.run.get("turns", {}).get("stored")]
    if served:
        problem = "their answers came from the store and not from fresh seeds. They confirm nothing"
        return tuple(measured), [*said, f"confirm: {', '.join(served)}: {problem}; use store=memory."]
    places = {at: names[point.name] for at, point in enumerate(fresh.points) if at and point.name in names}
    for at in places:
        if not fresh.points[at].finished:
            what = f"point {fresh.points[at].name} is {fresh.points[at].status}"
            said.append(f"confirm: {what}. Ask with --confirm again.")
    still = _same(sweep, sweep.baseline, fresh, 0)
    unchanged = {place for at, place in places.items() if still and _same(sweep, place, fresh, at)}
    return tuple(confirmed(one, fresh, places, unchanged) if one.judged else one for one in measured), said


def _same(sweep: Sweep, place: int, fresh: Sweep, at: int) -> bool:
    """Whether all scores are as they were, times aside."""
    before, now = sweep.points[place].scores, fresh.points[at].scores
    if before is None or now is None:
        return False
    names = [name for name, one in before.summaries.items() if not one.use.startswith("time/")]
    return all(before.values[name] == now.values.get(name) for name in names)


def _changed(sweep: Sweep, fresh: Sweep) -> list[str]:
    then, now = sweep.first, fresh.first
    found = differences({"code": then.get("code"), "versions": then.get("versions")},
                        {"code": now.get("code"), "versions": now.get("versions")}) if now else {}  # fmt: skip
    names = ", ".join(".".join(path) for path in found)
    return [f"confirm: {names} changed between the sweep and its confirmation."] if found else []
