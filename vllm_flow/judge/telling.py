"""What a judgement says in sentences, and first of all whether the judge can be trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vllm_flow.judge.asking import FOLDER
from vllm_flow.judge.results import Judged, Judgement


def sentences(found: Judgement) -> list[str]:
    """In the order of their weight."""
    return [*filter(None, [trust(found)]), *_missing(found), *_notes(found.points), *_method(found), *found.problems]


def trust(found: Judgement) -> str:
    """How far the judge can be trusted; empty when it was not asked, or said nothing."""
    one = found.consistency
    if one.agreement is None or one.chance is None:
        return ""
    of_pairs = f"{_percent(one.agreement)} of {_count(one.pairs, 'pair')}"
    chance = f"blind verdicts would by chance in {_percent(one.chance)}"
    if not one.no_better_than_chance:
        return f"The judge agrees with itself, when the answers change places, in {of_pairs}; {chance}."
    what = "prefers a position, not an answer" if one.prefers_a_position else "says nothing of the answers"
    return (
        f"The judge {what}: it agrees with itself, when the answers change places, in {of_pairs}; {chance}. It chose "
        f"whatever stood first in {_count(one.always_first, 'pair')}, and whatever stood second in "
        f"{one.always_second}. Do not trust its preferences; take another judge."
    )


def _missing(found: Judgement) -> Iterator[str]:
    for name, why in found.sweep.left_out.items():
        yield f"Point {name} is not judged: {why.removesuffix('.')}."
    unreadable, failed = (sum(getattr(one, name) for one in found.points) for name in ("unreadable", "failed"))
    if unreadable:
        what = f"{_count(unreadable, 'verdict')} could not be read, and their pairs do not count"
        yield f"{what}. What the judge wrote is in {FOLDER}/results.jsonl."
    if failed:
        where = found.sweep.folder / FOLDER
        again = f"Ask again with: vllm-flow resume {where} --retry-errors, then judge again"
        yield f"{_count(failed, 'verdict')} failed. {again}."
    for what, reason in (("unanswered", "an answer is missing"), ("asked_otherwise", "the questions differ")):
        if count := sum(getattr(one, what) for one in found.points):
            yield f"{_count(count, 'pair')} cannot be judged: {reason}."


def _notes(points: Sequence[Judged]) -> Iterator[str]:
    noted: dict[str, list[str]] = {}
    for one in points:
        for note in one.notes:
            noted.setdefault(note, []).append(one.name)
    for note, names in noted.items():
        everywhere = len(names) == len(points)
        yield note if everywhere else f"Point{'' if len(names) == 1 else 's'} {', '.join(names)}: {note}"


def _method(found: Judgement) -> Iterator[str]:
    if any(one.p_value is not None for one in found.points):
        together = "; all intervals hold together" if len(found.points) > 1 else ""
        against = f"Preferences are over the baseline, at a confidence of {found.confidence:.0%}{together}"
        yield f"{against}. Method: {found.method}"


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
