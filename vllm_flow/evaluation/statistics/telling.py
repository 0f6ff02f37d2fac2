"""From numbers to results: the verdict, and the reason for all that is not known.

The verdict follows the p-value alone, which agrees with the interval, so the report cannot say two things.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vllm_flow.evaluation.statistics.pairing import Floats, PromptMeans
from vllm_flow.evaluation.statistics.results import Comparison, Interval, PointEstimate, Verdict

FEWEST_PROMPTS = 8  # of 7 prompts the 95 % limit would be the fourth of 64 flips: one odd prompt decides it
POWER = 0.8


class Terms(NamedTuple):
    """What was agreed before the scores were seen, and what kind of scores they are."""

    confidence: float
    higher_is_better: bool
    binary: bool

    @property
    def alpha(self) -> float:
        return round(1 - self.confidence, 12)  # 1 - 0.9 is a little less than 0.1


class Inference(NamedTuple):
    """Of one mean; the limits are infinite where the flips are too few for the confidence."""

    low: float
    high: float
    standard_error: float
    p_value: float

    @property
    def bounded(self) -> bool:
        return bool(np.isfinite(self.low) and np.isfinite(self.high))


def point_estimate(point: int, means: PromptMeans, inference: Inference | None, terms: Terms) -> PointEstimate:
    notes = [f"{means.left_out[point]} of {_asked(means, point)} answers have no score."] * bool(means.left_out[point])
    values = _values(means, point)
    return PointEstimate(
        point=point,
        mean=float(values.mean()) if len(values) else None,
        interval=_interval(inference, (0.0, 1.0), terms),
        num_prompts=len(values),
        answers=int(means.answers[point]),
        missing=int(means.left_out[point]),
        notes=(*notes, *_why_no_interval(inference, len(values), "scores", terms)),
    )


def comparison(point: int, column: int, pairs: PromptMeans, inference: Inference | None, terms: Terms) -> Comparison:
    """`column` is where `pairs` has the differences of `point` from the baseline."""
    left_out = int(pairs.left_out[column])
    notes = [f"{left_out} of {_asked(pairs, column)} pairs are left out: an answer has no score."] * bool(left_out)
    values = _values(pairs, column)
    return Comparison(
        point=point,
        difference=float(values.mean()) if len(values) else None,
        interval=_interval(inference, (-1.0, 1.0), terms),
        p_value=inference.p_value if inference else None,
        smallest_detectable=_smallest_detectable(inference, len(values), terms),
        num_prompts=len(values),
        num_seeds=int(pairs.num_seeds[column]),
        pairs=int(pairs.answers[column]),
        pairs_left_out=left_out,
        verdict=_verdict(inference, values, terms),
        notes=(*notes, *_why_no_interval(inference, len(values), "pairs", terms), *_rough(inference, values, terms)),
    )


def _asked(means: PromptMeans, column: int) -> int:
    return int(means.answers[column] + means.left_out[column])


def _values(means: PromptMeans, column: int) -> Floats:
    values = means.values[:, column]
    return values[~np.isnan(values)]


def _verdict(inference: Inference | None, values: Floats, terms: Terms) -> Verdict:
    if inference is None:
        return "too few prompts"
    if inference.p_value > terms.alpha:
        return "no difference shown"
    return "better" if (values.mean() > 0) == terms.higher_is_better else "worse"


def _interval(inference: Inference | None, ends: tuple[float, float], terms: Terms) -> Interval | None:
    if inference is None or not inference.bounded or inference.standard_error == 0:
        return None
    low, high = inference.low, inference.high
    return Interval(max(low, ends[0]), min(high, ends[1])) if terms.binary else Interval(low, high)


def _why_no_interval(inference: Inference | None, prompts: int, what: str, terms: Terms) -> list[str]:
    if inference is None:
        have = "prompt has" if prompts == 1 else "prompts have"
        return [f"No interval: {prompts} {have} {what}, and below {FEWEST_PROMPTS} one odd prompt would decide it."]
    if inference.standard_error == 0:
        return [f"No interval: all {prompts} prompts give the same number, so nothing says how others would vary."]
    if not inference.bounded:
        return [f"No interval: {prompts} prompts are too few for a confidence of {terms.confidence:g}."]
    return []


def _rough(inference: Inference | None, values: Floats, terms: Terms) -> list[str]:
    differing = int(np.count_nonzero(values))
    if inference is None or terms.binary or not 0 < differing < FEWEST_PROMPTS:
        return []
    return [f"Rough interval: only {differing} of {len(values)} prompts differ. The p-value holds."]


def _smallest_detectable(inference: Inference | None, prompts: int, terms: Terms) -> float | None:
    """Half the interval plus the t quantile of the power times the standard error (Bloom 1995, Eval. Rev. 19, 547-556).

    Pseudo-prompts draw the mean towards 0, so where there are any the true difference has to be larger by as much.
    """
    if inference is None or not inference.bounded or inference.standard_error == 0:
        return None
    from scipy.special import stdtrit

    half = (inference.high - inference.low) / 2
    drawn = (prompts + 2) / prompts if terms.binary else 1.0
    return drawn * (half + float(stdtrit(prompts - 1, POWER)) * inference.standard_error)
