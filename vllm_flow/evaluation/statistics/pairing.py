"""Scores to what is compared: one number a prompt, seeds averaged first, and what was left out.

Prompts are drawn independently, seeds are nested inside them. What varies between seeds is already in the means of
the prompts, so their spread is the right error of the mean whatever the seeds of one prompt have in common. Drawing
seeds again inside the drawn prompts would count that variance twice (Davison & Hinkley 1997, Bootstrap Methods and
their Application, section 3.8; Field & Welsh 2007, J. R. Statist. Soc. B 69, 369-390). Prompts count alike, however
many of their seeds are missing.

Scores that are all 0 or 1 get two pseudo-prompts. Without them twenty equal answers would give an interval of width
0, and few unequal ones too narrow an interval. For differences they stand at ±√(1/2S) for S seeds a prompt: with one
seed that is half a pair in favour of each side, the adjustment of Agresti & Min (2005, Statist. Med. 24, 729-740).
For the score of one point they stand at ½ ± ½/√S: with one seed, one right and one wrong answer (after Agresti &
Coull 1998, Am. Stat. 52, 119-126).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]


@dataclass(frozen=True)
class PromptMeans:
    """One column for each thing to be estimated."""

    values: Floats
    """[prompts, columns]: means over seeds; NaN where a prompt has none."""
    answers: NDArray[np.int64]
    """[columns]: scores, or pairs of scores, that went in."""
    left_out: NDArray[np.int64]
    """[columns]: those that are missing."""
    num_prompts: NDArray[np.int64]
    """[columns]: prompts with at least one."""
    num_seeds: NDArray[np.int64]
    """[columns]: the most that a prompt has."""


def prompt_means(scores: Floats) -> PromptMeans:
    """`scores`: [columns, prompts, seeds], NaN where there is none."""
    there = ~np.isnan(scores)
    counts = there.sum(axis=2)
    with np.errstate(invalid="ignore"):
        means = np.where(there, scores, 0.0).sum(axis=2) / counts
    return PromptMeans(
        values=means.T,
        answers=counts.sum(axis=1),
        left_out=(~there).sum(axis=(1, 2)),
        num_prompts=(counts > 0).sum(axis=1),
        num_seeds=counts.max(axis=1),
    )


def is_binary(scores: Floats) -> bool:
    return bool(np.isin(scores[~np.isnan(scores)], (0.0, 1.0)).all())


def with_pseudo_differences(pairs: PromptMeans) -> Floats:
    """[prompts + 2, columns]."""
    return _with_pair(pairs, 0.0, np.sqrt(0.5 / _seeds_per_prompt(pairs)))


def with_pseudo_answers(single: PromptMeans) -> Floats:
    """[prompts + 2, columns]."""
    return _with_pair(single, 0.5, 0.5 / np.sqrt(_seeds_per_prompt(single)))


def _seeds_per_prompt(means: PromptMeans) -> Floats:
    return np.asarray(np.maximum(means.answers, 1) / np.maximum(means.num_prompts, 1), dtype=np.float64)


def _with_pair(means: PromptMeans, centre: float, distance: Floats) -> Floats:
    return np.vstack([means.values, centre + distance, centre - distance])
