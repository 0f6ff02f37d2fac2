"""What the scores of a sweep show: each metric of each point, and how it stands to the baseline.

Only finished points are compared. A metric without an axis of quality is described and never called better or worse;
nor are times that nobody asked for, which depend on what else was in the batch, and what points define differently.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vllm_flow.evaluation.scores import Scores, Summary, stacked
from vllm_flow.report.reading import Sweep

if TYPE_CHECKING:
    from vllm_flow.evaluation.statistics import Comparisons, Interval

BETTER = "better at first"
"""Of a winner that fresh seeds have not been asked about."""
UNCHANGED = "better at first, seeds change nothing"
"""Of a winner that gave the same answers with fresh seeds, and so did the baseline: nothing new was seen."""


@dataclass(frozen=True)
class Cell:
    """One metric of one point."""

    mean: float | None
    """Over prompts; also of a point that has not finished, over what is there."""
    interval: Interval | None = None
    prompts: int = 0
    notes: tuple[str, ...] = ()
    difference: float | None = None
    """From the baseline, over the answers that both have."""
    paired_prompts: int = 0
    """With answers of both: what the verdict rests on."""
    difference_interval: Interval | None = None
    p_value: float | None = None
    smallest_detectable: float | None = None
    verdict: str | None = None
    """None for the baseline, for what is not compared, and for metrics that say nothing of quality."""
    fresh_difference: float | None = None
    """What fresh seeds showed, of a winner that was run again: the one to quote."""
    fresh_interval: Interval | None = None


@dataclass(frozen=True)
class Measured:
    """One metric over all points."""

    name: str
    use: str
    higher_is_better: bool | None
    configured: bool
    judged: bool
    """Whether its points get verdicts."""
    cells: tuple[Cell, ...]
    """One for each point of the sweep."""
    binary: bool = False
    """Whether all its scores are 0 or 1, so that no difference is above 1."""
    method: str = ""
    confidence: float | None = None
    comparisons: Comparisons | None = None
    """As `confirm` takes them; its points are those of `compared`."""
    compared: tuple[int, ...] = ()
    """Which points of the sweep were compared, in the order of `comparisons`."""

    @property
    def winners(self) -> tuple[int, ...]:
        """Points of the sweep that are better at first, best first."""
        from vllm_flow.evaluation.statistics import candidates

        if self.comparisons is None or not self.judged:
            return ()
        return tuple(self.compared[point] for point in candidates(self.comparisons))


def judge(sweep: Sweep) -> tuple[Measured, ...]:
    """Every metric that any point has, the configured ones first."""
    found: dict[str, Summary] = {}
    for point in sweep.points:
        for name, summary in (point.scores.summaries if point.scores else {}).items():
            found.setdefault(name, summary)
    names = sorted(found, key=lambda name: (name not in sweep.configured, list(found).index(name)))
    return tuple(_measured(sweep, found[name]) for name in names)


def _measured(sweep: Sweep, summary: Summary) -> Measured:
    from vllm_flow.evaluation.statistics import compare
    from vllm_flow.evaluation.statistics.pairing import is_binary

    configured = summary.name in sweep.configured
    judged = summary.higher_is_better is not None and (configured or not summary.use.startswith("time/"))
    measured = Measured(
        summary.name,
        summary.use,
        summary.higher_is_better,
        configured,
        judged,
        tuple(_unfinished(point.scores, summary.name) for point in sweep.points),
    )
    if summary.name in sweep.unlike:
        return replace(measured, higher_is_better=None, judged=False)
    compared = [place for place, point in enumerate(sweep.points) if point.finished]
    table, _ = stacked([scores for place in compared if (scores := sweep.points[place].scores)], summary.name)
    if sweep.baseline not in compared or not table.size:
        return measured
    baseline = compared.index(sweep.baseline)
    comparisons = compare(table, baseline=baseline, higher_is_better=summary.higher_is_better is not False)
    return replace(
        measured,
        cells=_cells(measured.cells, comparisons, compared, judged=judged),
        binary=is_binary(table),
        method=comparisons.method,
        confidence=comparisons.confidence,
        comparisons=comparisons,
        compared=tuple(compared),
    )


def _unfinished(scores: Scores | None, name: str) -> Cell:
    summary = scores.summaries.get(name) if scores else None
    return Cell(summary.mean, prompts=summary.prompts) if summary else Cell(None)


def _cells(
    cells: Sequence[Cell], comparisons: Comparisons, compared: Sequence[int], *, judged: bool
) -> tuple[Cell, ...]:
    found = list(cells)
    for place, one in zip(compared, comparisons.points, strict=True):
        found[place] = Cell(one.mean, one.interval, one.num_prompts, one.notes)
    for pair in comparisons.comparisons:
        place = compared[pair.point]
        verdict = BETTER if pair.verdict == "better" else pair.verdict
        found[place] = replace(
            found[place],
            notes=(*found[place].notes, *(note for note in pair.notes if note not in found[place].notes)),
            difference=pair.difference,
            paired_prompts=pair.num_prompts,
            difference_interval=pair.interval,
            p_value=pair.p_value,
            smallest_detectable=pair.smallest_detectable,
            verdict=verdict if judged else None,
        )
    return tuple(found)


def confirmed(measured: Measured, fresh: Sweep, places: Mapping[int, int], unchanged: Collection[int]) -> Measured:
    """The verdicts after winners were run again; `places` says which point of `fresh` is which of the sweep.

    `unchanged` are those places of the sweep whose scores fresh seeds did not change.

    The baseline is the first point of `fresh`. A metric that no confirmed point won by stays as it is.
    """
    from vllm_flow.evaluation.statistics import confirm

    again = {at: place for at, place in places.items() if place in measured.winners and fresh.points[at].finished}
    baseline = fresh.points[0]
    if measured.comparisons is None or not again or not baseline.finished:
        return measured
    runs = [scores for at in (0, *again) if (scores := fresh.points[at].scores)]
    table, _ = stacked(runs, measured.name)
    won = [measured.compared.index(place) for place in again.values()]
    cells = list(measured.cells)
    for place, one in zip(again.values(), confirm(measured.comparisons, won, table), strict=True):
        cells[place] = replace(
            cells[place],
            verdict=UNCHANGED if place in unchanged else one.verdict,
            paired_prompts=one.fresh.num_prompts,
            fresh_difference=one.fresh.difference,
            fresh_interval=one.fresh.interval,
        )
    return replace(measured, cells=tuple(cells))
