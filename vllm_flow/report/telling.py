"""What a report says in sentences: what is unfinished, what a comparison showed, and how far it can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vllm_flow.evaluation.statistics.telling import FEWEST_PROMPTS
from vllm_flow.report.judging import UNCHANGED, Cell, Measured
from vllm_flow.report.reading import Sweep, Swept

USUAL = ("tokens", "truncated", "repetition")
"""Shown first when no metric was asked for."""
SHOWN = 3
"""How many winners are told with their differences."""


def headline(measured: Sequence[Measured]) -> tuple[Measured, ...]:
    """The metrics that a table has room for."""
    asked = tuple(one for one in measured if one.configured)
    return asked or tuple(one for one in measured if one.name in USUAL)


def number(value: float | None, *, signed: bool = False) -> str:
    """Three digits that count; a dash where there is none."""
    if value is None:
        return "–"
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    text = "0" if float(text.replace(",", "")) == 0 else text
    return f"+{text}" if signed and value > 0 and text != "0" else text.replace("-", "−")


def with_interval(value: float | None, interval: Sequence[float] | None, *, signed: bool = False) -> str:
    limits = "" if interval is None else f" [{', '.join(number(one, signed=signed) for one in interval)}]"
    return number(value, signed=signed) + limits


def sentences(sweep: Sweep, measured: Sequence[Measured], shown: str) -> list[str]:
    """In the order of their weight; `shown` is the folder as a person types it."""
    return [
        *_unfinished(sweep, shown),
        *_without_quality(sweep, measured),
        *(said for one in measured if one.configured and one.judged for said in _of_metric(sweep, one, shown)),
        *remarks(sweep, measured),
        *_method(sweep, measured),
    ]


def remarks(sweep: Sweep, measured: Sequence[Measured]) -> list[str]:
    """How far scores can be trusted, whatever they show: what has none, why there is no interval, what was left out."""
    return [*_notes(sweep, [one for one in measured if one.configured]), *_unscored(sweep), *sweep.problems]


def _points(sweep: Sweep, places: Sequence[int]) -> str:
    if sweep.index is None:  # runs, and no points
        return ", ".join(sweep.points[place].name for place in places)
    titled = len(places) == 1
    names = ", ".join(sweep.points[place].title if titled else sweep.points[place].name for place in places)
    return f"point{'' if titled else 's'} {names}"


def _unfinished(sweep: Sweep, shown: str) -> Iterator[str]:
    if sweep.index is None:
        (only,) = sweep.points
        if not only.finished:
            yield f"This run is {_status(only)}: what is there is not all of it. Go on with: vllm-flow resume {shown}"
    else:
        left = [place for place, one in enumerate(sweep.points) if not one.finished]
        if left:
            how = ", ".join(dict.fromkeys(_status(sweep.points[place]) for place in left))
            what = f"{_points(sweep, left)}: not finished ({how}), so compared with nothing"
            yield f"{what[0].upper()}{what[1:]}. Go on with: vllm-flow resume {shown}"
        if sweep.baseline in left:
            yield f"The baseline, {_points(sweep, [sweep.baseline])}, is among them: there are no comparisons."
    for point in sweep.points:
        if point.run.get("error"):
            yield f"{point.title or shown}: {point.run['error']}"
    if failed := [place for place, one in enumerate(sweep.points) if one.failed]:
        count = sum(sweep.points[place].failed for place in failed)
        where = f" of {_points(sweep, failed)}" if sweep.index else ""
        again = f"Answer them again with: vllm-flow resume {shown} --retry-errors"
        yield f"{count} turn{'' if count == 1 else 's'}{where} failed and have no scores. {again}"


def _status(point: Swept) -> str:
    return "running, or was killed" if point.status == "running" else point.status


def _without_quality(sweep: Sweep, measured: Sequence[Measured]) -> Iterator[str]:
    if not any(one.configured and (one.judged or one.name in sweep.unlike) for one in measured):
        add = "Add one, such as metrics=exact, with a `reference` in each row of the input"
        yield f"No metric of quality was asked for, so nothing here says which answers are better. {add}."


def _of_metric(sweep: Sweep, measured: Measured, shown: str) -> Iterator[str]:
    by_verdict: dict[str, list[int]] = {}
    for place, cell in enumerate(measured.cells):
        if cell.verdict is not None:
            by_verdict.setdefault(cell.verdict, []).append(place)
    for verdict, places in by_verdict.items():
        yield f"{measured.name}: {_told(sweep, measured, verdict, places, shown)}"


def _told(sweep: Sweep, measured: Measured, verdict: str, places: list[int], shown: str) -> str:
    cells = [measured.cells[place] for place in places]
    if verdict == "no difference shown":
        which = f"no difference shown between the baseline and {_points(sweep, places)}"
        return f"{which}.{_detectable(cells, binary=measured.binary)}"
    if verdict == "too few prompts":
        most = max(one.paired_prompts for one in cells)
        why = f"{most} at most, and below {FEWEST_PROMPTS} one odd prompt would decide it"
        return f"too few prompts to compare {_points(sweep, places)} with the baseline: {why}."
    if verdict == "worse":
        return f"worse than the baseline: {_points(sweep, places)}."
    if verdict == UNCHANGED:
        each = [f"{_points(sweep, [place])} by {_first(measured.cells[place])}" for place in places]
        return f"{verdict}: {'; '.join(each)}. There is no chance in these answers: only other prompts could say more."
    if cells[0].fresh_difference is not None:
        return f"{verdict}: {'; '.join(f'{_points(sweep, [one])} by {_fresh(measured.cells[one])}' for one in places)}."
    ranked = [place for place in measured.winners if place in places]
    each = [f"{_points(sweep, [place])} by {_first(measured.cells[place])}" for place in ranked[:SHOWN]]
    each += [_points(sweep, ranked[SHOWN:])] * (len(ranked) > SHOWN)
    return f"{verdict}: {'; '.join(each)}. Run them again with fresh seeds: vllm-flow report {shown} --confirm"


def _first(cell: Cell) -> str:
    return with_interval(cell.difference, cell.difference_interval, signed=True)


def _fresh(cell: Cell) -> str:
    fresh = with_interval(cell.fresh_difference, cell.fresh_interval, signed=True)
    return f"{fresh} on fresh seeds (at first {_first(cell)})"


def _detectable(cells: Sequence[Cell], *, binary: bool) -> str:
    known = [one.smallest_detectable for one in cells if one.smallest_detectable is not None]
    if not known:
        return ""
    least, most = min(known), max(known)
    if binary and least > 1:
        return " With so few prompts not even the largest difference there is would be found reliably."
    size = number(least)
    if binary and most > 1:
        size += " or more, and at some points not even the largest there is,"
    elif number(most) != size:
        size += f" to {number(most)}, depending on the point,"
    return f" A true difference of {size} would be found in about 80 of 100 such sweeps."


def _notes(sweep: Sweep, measured: Sequence[Measured]) -> Iterator[str]:
    for one in measured:
        found: dict[str, list[int]] = {}
        for place, cell in enumerate(one.cells):
            for note in cell.notes:
                few = cell.prompts < FEWEST_PROMPTS or cell.verdict == "too few prompts"
                if few and one.judged and note.startswith("No interval"):
                    continue  # said of the comparison
                found.setdefault(note, []).append(place)
        for note, places in found.items():
            everywhere = len(places) == len(sweep.points)
            yield f"{one.name}: {note}" if everywhere else f"{one.name}, {_points(sweep, places)}: {note}"


def _unscored(sweep: Sweep) -> Iterator[str]:
    found: dict[tuple[str, str], int] = {}
    for point in sweep.points:
        for one in point.scores.unscored if point.scores else ():
            found[one.metric, one.reason] = found.get((one.metric, one.reason), 0) + one.count
    for (metric, reason), count in found.items():
        yield f"{metric}: {count} without a score, because it failed: {reason}"


def _method(sweep: Sweep, measured: Sequence[Measured]) -> Iterator[str]:
    compared = [one for one in measured if one.judged and any(cell.p_value is not None for cell in one.cells)]
    if compared and sweep.index:
        one = compared[0]
        count = len(one.compared) - 1
        together = f"; the {count} intervals of one metric hold together" if count > 1 else ""
        from_baseline = f"Differences are from the baseline, {_points(sweep, [sweep.baseline])}"
        yield f"{from_baseline}, at a confidence of {one.confidence:.0%}{together}. Method: {one.method}"
        if sum(item.configured for item in compared) > 1:
            yield "Each metric is tested by itself: of many metrics, one is found better by chance more often."


def shown_from(folder: Path, here: Path) -> str:
    """A folder as the user would type it in `here`."""
    return str(folder.relative_to(here)) if folder.is_relative_to(here) and folder != here else str(folder)
