"""Winners are run again on fresh seeds before they are called better.

The best of many points is partly the luckiest: on the seeds that chose it, its lead is too large. Fresh seeds had no
part in the choice, so they say how large it is, and whether it is there.
"""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from vllm_flow.evaluation.statistics.comparing import compare
from vllm_flow.evaluation.statistics.results import Comparisons, Confirmation, ConfirmedVerdict, Verdict

_CONFIRMED: dict[Verdict, ConfirmedVerdict] = {
    "better": "better, confirmed",
    "worse": "better at first, not confirmed",
    "no difference shown": "better at first, not confirmed",
    "too few prompts": "too few prompts",
}


def candidates(comparisons: Comparisons) -> tuple[int, ...]:
    """The points found better than the baseline, best first: to be run again, with the baseline, on fresh seeds."""
    sign = 1 if comparisons.higher_is_better else -1
    winners = [found for found in comparisons.comparisons if found.verdict == "better"]
    winners.sort(key=lambda found: sign * (found.difference or 0.0), reverse=True)
    return tuple(found.point for found in winners)


def confirm(
    first: Comparisons, points: Sequence[int], fresh: ArrayLike, *, draws: int = 10_000, seed: int = 0
) -> tuple[Confirmation, ...]:
    """What the `fresh` scores [1 + points, prompts, seeds] say of `points`; the baseline's are the first of them.

    Direction and confidence are those of the first comparison. Raises ValueError when `points` were not found better
    in it, or when `fresh` has another number of points.
    """
    winners = candidates(first)
    if strangers := [point for point in points if point not in winners]:
        raise ValueError(f"points: {strangers} were not found better. Those that were: {list(winners)}.")
    again = compare(
        fresh,
        baseline=0,
        higher_is_better=first.higher_is_better,
        confidence=first.confidence,
        draws=draws,
        seed=seed,
    )
    if len(again.comparisons) != len(points):
        raise ValueError(
            f"fresh: there are scores of {len(again.points)} points. "
            f"There would be {len(points) + 1}: of the baseline, then of {list(points)}."
        )
    return tuple(
        Confirmation(point, _CONFIRMED[found.verdict], found)
        for point, found in zip(points, again.comparisons, strict=True)
    )
