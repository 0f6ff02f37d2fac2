"""All points of a sweep against one declared baseline, on one metric.

One baseline, named beforehand, and not all pairs: the fewer questions, the sharper the answers. Points share prompts
and seeds, so differences are taken answer by answer, and what makes a prompt hard cancels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from vllm_flow.evaluation.statistics.flips import ROWS_OF_ALL_FLIPS, limits, sign_flips
from vllm_flow.evaluation.statistics.pairing import (
    Booleans,
    Floats,
    PromptMeans,
    is_binary,
    prompt_means,
    with_pseudo_answers,
    with_pseudo_differences,
)
from vllm_flow.evaluation.statistics.results import Comparisons
from vllm_flow.evaluation.statistics.telling import FEWEST_PROMPTS, Inference, Terms, comparison, point_estimate

ROUNDING = 1e-12  # of the largest score: differences of sums that are equal on paper are smaller


def compare(
    scores: ArrayLike,
    *,
    baseline: int,
    higher_is_better: bool = True,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
) -> Comparisons:
    """Every point of `scores` [points, prompts, seeds] against the point `baseline`; NaN is an answer without a score.

    Means are over prompts, as if these were drawn from all prompts that matter. Where at least 8 prompts have pairs
    there are simultaneous intervals and adjusted p-values by flipped signs (`flips`): all flips below 20 prompts (18
    where scores are all 0 or 1, `pairing` says why), else `draws` of them from `seed`. The same scores always give
    the same result. Strongly skewed scores, such as times, are better compared by their logarithms: of 20 prompts,
    intervals of means that differ much cover less than they promise.

    Raises ValueError naming all that is wrong with the arguments.
    """
    table = np.asarray(scores, dtype=np.float64)
    _check(table, baseline, confidence, draws)
    others = [point for point in range(len(table)) if point != baseline]
    single, pairs = prompt_means(table), prompt_means(table[others] - table[baseline])
    terms = Terms(confidence, higher_is_better, is_binary(table))
    flips = sign_flips(table.shape[1] + 2 * terms.binary, draws, np.random.default_rng(seed))
    rounding = ROUNDING * float(np.abs(table).max(initial=0.0, where=~np.isnan(table)))
    alone = _infer(single, with_pseudo_answers, flips, terms, jointly=False, rounding=rounding)
    against = _infer(pairs, with_pseudo_differences, flips, terms, jointly=True, rounding=rounding)
    return Comparisons(
        points=tuple(point_estimate(point, single, alone[point], terms) for point in range(len(table))),
        comparisons=tuple(
            comparison(point, column, pairs, against[column], terms) for column, point in enumerate(others)
        ),
        baseline=baseline,
        higher_is_better=higher_is_better,
        confidence=confidence,
        method=_method(flips, terms.binary),
    )


def _check(table: Floats, baseline: int, confidence: float, draws: int) -> None:
    faults = []
    if table.ndim != 3 or not table.size:
        faults.append(f"scores: the shape is {table.shape}. It is [points, prompts, seeds], each at least 1.")
    elif not 0 <= baseline < len(table):
        faults.append(f"baseline: there is no point {baseline}. There are 0 to {len(table) - 1}.")
    if infinite := int(np.isinf(table).sum()):
        faults.append(f"scores: {infinite} are infinite. Give finite numbers, and NaN for an answer without a score.")
    if not 0.5 <= confidence < 1:
        faults.append(f"confidence: {confidence} does not fit. It is at least 0.5 and below 1, such as 0.95.")
    if draws < 1_000:
        faults.append(f"draws: {draws} are too few. Take 1000 or more, or limits depend on the seed.")
    if faults:
        raise ValueError("\n".join(faults))


def _infer(
    means: PromptMeans,
    with_pseudo_prompts: Callable[[PromptMeans], Floats],
    flips: Booleans,
    terms: Terms,
    *,
    jointly: bool,
    rounding: float,
) -> list[Inference | None]:
    """One for a column; None where too few prompts have a value, and these are not counted as comparisons."""
    values = with_pseudo_prompts(means) if terms.binary else means.values
    result: list[Inference | None] = [None] * values.shape[1]
    enough = np.flatnonzero(means.num_prompts >= FEWEST_PROMPTS)
    if len(enough):
        found = limits(values[:, enough], flips, terms.alpha, jointly=jointly, rounding=rounding)
        for place, column in enumerate(enough):
            result[column] = Inference(
                low=float(found.low[place]),
                high=float(found.high[place]),
                standard_error=float(found.standard_error[place]),
                p_value=float(found.p_value[place]),
            )
    return result


def _method(flips: Booleans, binary: bool) -> str:
    number, rows = flips.shape
    some = f"all {number}" if rows <= ROWS_OF_ALL_FLIPS else f"{number} drawn"
    text = f"paired by prompt and seed; seeds averaged within prompts; {some} sign flips, largest t over the points"
    if binary:
        text += "; two pseudo-prompts, scores being 0 or 1: with few prompts intervals cover more than they promise"
    return text + "."
