"""Sweeps whose truth is known: scores with prompts of different difficulty, and seeds that points have in common.

A score is prompt + 0.4 prompt-and-point + 0.6 seed (the noise that points share) + 0.6 seed-and-point + effect of the point.
Binary scores ask whether that is above 0; skewed ones are exp of half of it, as lengths and times are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

from vllm_flow.evaluation.statistics import Comparisons, compare

KINDS = ("binary", "normal", "heavy-tailed", "skewed")
OTHER_VARIANCE = 1 + 0.4**2 + 2 * 0.6**2


def sweep(
    kind: str, generator: np.random.Generator, prompts: int, seeds: int, effects: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Scores [points, prompts, seeds] and the true means [points]."""
    effect, points = np.asarray(effects, dtype=np.float64), len(effects)

    def noise(*shape: int) -> np.ndarray:
        return generator.standard_t(3, shape) if kind == "heavy-tailed" else generator.standard_normal(shape)

    level = (
        noise(1, prompts, 1)
        + 0.4 * noise(points, prompts, 1)
        + 0.6 * noise(1, prompts, seeds)
        + 0.6 * noise(points, prompts, seeds)
        + effect[:, None, None]
    )
    if kind == "binary":
        return (level > 0).astype(np.float64), norm.cdf(effect / np.sqrt(OTHER_VARIANCE))
    if kind == "skewed":
        return np.exp(level / 2), np.exp(effect / 2 + OTHER_VARIANCE / 8)
    return level, effect


def holds(found: Comparisons, truth: np.ndarray) -> list[bool]:
    """For each comparison, whether its interval has the true difference; one without an interval claims nothing."""
    return [
        one.interval is None
        or one.interval.low - 1e-9 <= truth[one.point] - truth[found.baseline] <= one.interval.high + 1e-9
        for one in found.comparisons
    ]


def coverage(
    kind: str, prompts: int, seeds: int, effects: Sequence[float] | None, sweeps: int, generator: np.random.Generator
) -> float:
    """How many percent of sweeps have all their intervals right; an effect is drawn for each when `effects` is None."""
    right = 0
    for _ in range(sweeps):
        wanted = effects if effects is not None else (0.0, generator.standard_normal())
        scores, truth = sweep(kind, generator, prompts, seeds, wanted)
        right += all(holds(compare(scores, baseline=0, draws=2_000), truth))
    return 100 * right / sweeps


def family_wise_error(
    kind: str, prompts: int, seeds: int, points: int, sweeps: int, generator: np.random.Generator
) -> float:
    """How many percent of sweeps of equal points call one of them better or worse."""
    wrong = 0
    for _ in range(sweeps):
        scores, _ = sweep(kind, generator, prompts, seeds, [0.0] * points)
        found = compare(scores, baseline=0, draws=2_000).comparisons
        wrong += any(one.verdict in ("better", "worse") for one in found)
    return 100 * wrong / sweeps
