"""Intervals and p-values by flipping signs: a permutation test of paired scores, inverted.

If a point is no better than the baseline, which of the two an answer came from is chance, so each prompt's difference
could as well have the other sign. The studentised mean of all flips is what chance does. One sign is drawn for a
prompt, for all points at once: that keeps what the points have in common, and the largest statistic over the points
controls the family-wise error (Westfall & Young 1993; Romano & Wolf 2005, J. Am. Statist. Ass. 100, 94-108, in a
single step, so that intervals and p-values say the same).

Below 20 rows all flips are taken, which is exact when differences are symmetric; from there on they are drawn, which
is the wild cluster bootstrap-t with the null imposed and Rademacher weights, a cluster being a prompt (Cameron,
Gelbach & Miller 2008, Rev. Econ. Stat. 90, 414-427), and as the prompts grow in number needs no symmetry (Romano
1990, J. Am. Statist. Ass. 85, 686-692; Canay, Santos & Shaikh 2021, Rev. Econ. Stat. 103, 346-363). The unflipped
data count as one of the flips, so no p-value is 0 (Phipson & Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9, 39). Unlike
a bootstrap that draws prompts, no flip loses all spread when few prompts differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vllm_flow.evaluation.statistics.pairing import Booleans, Floats

ROWS_OF_ALL_FLIPS = 19


@dataclass(frozen=True)
class Limits:
    """One of each for a column."""

    standard_error: Floats
    low: Floats
    """Infinite where there are too few flips for the confidence."""
    high: Floats
    p_value: Floats
    """That the mean is 0."""


def sign_flips(rows: int, draws: int, generator: np.random.Generator) -> Booleans:
    """[flips, rows], true where the sign is turned; the first row turns none. All that differ, or `draws` at random."""
    if rows <= ROWS_OF_ALL_FLIPS:  # the last sign stays: turning all is the same as turning none
        numbers: NDArray[np.int64] = np.arange(2 ** (rows - 1), dtype=np.int64)
        return np.asarray((numbers[:, None] >> np.arange(rows)) % 2 == 1)
    drawn = generator.random((draws, rows)) < 0.5
    drawn[0] = False
    return drawn


def limits(values: Floats, flips: Booleans, alpha: float, *, jointly: bool, rounding: float) -> Limits:
    """Intervals for the means of the columns of `values` [rows, columns], NaN where a row does not count.

    A mean δ is kept when fewer than all but `alpha` of the flips of `values` − δ are less extreme than what was seen.
    For one flip that holds up to the larger mean of its turned and its unturned rows (Hartigan 1969, J. Am. Statist.
    Ass. 64, 1303-1317), so the limit is a quantile of those and nothing has to be searched. `jointly` also keeps δ
    while another column's flipped statistic is larger. Every column needs two rows that count. Values within `rounding`
    are equal.
    """
    counted = ~np.isnan(values)
    number = counted.sum(axis=0)
    filled = np.where(counted, values, 0.0)
    mean = filled.sum(axis=0) / number
    squares = (np.where(counted, values - mean, 0.0) ** 2).sum(axis=0)
    squares[np.sqrt(squares / number) <= rounding] = 0.0
    error = np.sqrt(squares / (number - 1) / number)

    turned = flips.astype(np.float64)
    turned_sum, turned_number = turned @ filled, turned @ counted
    low, high = _means_of_the_halves(turned_sum, turned_number, mean, number)
    if jointly and values.shape[1] > 1:
        rival = _largest_of_the_others(_statistics(turned_sum - turned_number * mean, squares, number))
        with np.errstate(invalid="ignore"):
            reach = np.where(error > 0, rival * error, 0.0)
        low, high = np.minimum(low, mean - reach), np.maximum(high, mean + reach)
    beyond = int(alpha * len(flips) + 1e-9)
    as_far = np.where(mean > 0, low <= rounding, high >= -rounding)
    return Limits(
        standard_error=error,
        low=np.partition(low, beyond, axis=0)[beyond],
        high=-np.partition(-high, beyond, axis=0)[beyond],
        p_value=np.asarray(as_far.mean(axis=0), dtype=np.float64),
    )


def _means_of_the_halves(
    turned_sum: Floats, turned_number: Floats, mean: Floats, number: Floats
) -> tuple[Floats, Floats]:
    """The smaller and the larger of the means of turned and unturned rows; infinite where either has no row."""
    with np.errstate(invalid="ignore", divide="ignore"):
        turned, others = turned_sum / turned_number, (mean * number - turned_sum) / (number - turned_number)
    unchanged = (turned_number == 0) | (turned_number == number)
    low = np.where(unchanged, -np.inf, np.minimum(turned, others))
    return low, np.where(unchanged, np.inf, np.maximum(turned, others))


def _statistics(turned_residuals: Floats, squares: Floats, number: Floats) -> Floats:
    """|t| of the flipped residuals, which sum to 0, [flips, columns]; 0 where nothing varies."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.minimum((2 * turned_residuals) ** 2 / (number * squares), 1.0)
        found = np.sqrt((number - 1) * share / (1 - share))
    return np.where(squares > 0, found, 0.0)


def _largest_of_the_others(statistics: Floats) -> Floats:
    """For each flip and column, the largest in the same flip of any other column."""
    rows = np.arange(len(statistics))
    largest = statistics.argmax(axis=1)
    result = np.repeat(statistics.max(axis=1)[:, None], statistics.shape[1], axis=1)
    rest = statistics.copy()
    rest[rows, largest] = -np.inf
    result[rows, largest] = rest.max(axis=1)
    return result
