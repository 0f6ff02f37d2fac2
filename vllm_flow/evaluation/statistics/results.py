"""What a comparison found, as plain numbers and words.

What is not known is None, with the reason in `notes`; a verdict is one of four, so that nothing else can be read into
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Verdict = Literal["better", "worse", "no difference shown", "too few prompts"]
ConfirmedVerdict = Literal["better, confirmed", "better at first, not confirmed", "too few prompts"]


class Interval(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class PointEstimate:
    """The mean score of one point over prompts, each prompt being the mean over its seeds."""

    point: int
    """Index along the first axis of the scores."""
    mean: float | None
    """In the metric's unit; None when no answer has a score."""
    interval: Interval | None
    """Of this point alone: it says nothing about differences, which are paired and much sharper."""
    num_prompts: int
    """Prompts with at least one score."""
    answers: int
    """Scores that went in, of `answers` + `missing` that were asked for."""
    missing: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """One point against the baseline, in the metric's unit; positive when the point scores higher."""

    point: int
    difference: float | None
    """Mean over prompts of the mean over seeds of point minus baseline; None when they share no answer."""
    interval: Interval | None
    """Simultaneous: all intervals of the family hold together with the stated confidence."""
    p_value: float | None
    """Two-sided, adjusted for all comparisons of the family (family-wise)."""
    smallest_detectable: float | None
    """The true difference that would be found better or worse in about 80 of 100 sweeps like this one.

    Scores of 0 and 1 from fewer than 20 prompts find it less often: their spread grows with the difference.
    """
    num_prompts: int
    """Prompts with at least one pair."""
    num_seeds: int
    """The most seeds that a prompt was answered with in pairs."""
    pairs: int
    pairs_left_out: int
    """Pairs of answers (same prompt, same seed) of which one or both have no score."""
    verdict: Verdict
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparisons:
    """All points of a sweep against its baseline."""

    points: tuple[PointEstimate, ...]
    comparisons: tuple[Comparison, ...]
    """One for each point but the baseline, in the order of the points."""
    baseline: int
    higher_is_better: bool
    confidence: float
    method: str
    """How intervals and p-values were made, in one sentence."""

    def of(self, point: int) -> Comparison:
        """The comparison of this point; KeyError for the baseline and for points that are not there."""
        for comparison in self.comparisons:
            if comparison.point == point:
                return comparison
        raise KeyError(point)


@dataclass(frozen=True)
class Confirmation:
    """What fresh seeds said of a point that had won."""

    point: int
    """Index in the scores of the sweep."""
    verdict: ConfirmedVerdict
    fresh: Comparison
    """The same comparison on the fresh seeds alone. Its effect is the one to quote: the first one was chosen for
    being large.
    """
