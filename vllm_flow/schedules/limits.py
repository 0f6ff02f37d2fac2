"""Limits: the one rule by which all controllers move: within bounds, not too fast, and not for next to nothing."""

from __future__ import annotations

from collections.abc import Iterator

from vllm_flow.core.options import OptionProblem


def limited(
    wanted: float,
    before: float | None,
    low: float,
    high: float,
    *,
    max_step: float | None = None,
    hysteresis: float = 0.0,
) -> float:
    """The value to go to from the one before, if `wanted` is what the signal asks for; None: there is none before.

    A change that is smaller than `hysteresis` is not made, and none is larger than `max_step`. The bounds hold
    always, also where the value before is outside of them.
    """
    wanted = min(high, max(low, wanted))
    if before is not None and abs(wanted - before) < hysteresis:
        wanted = before
    elif before is not None and max_step is not None:
        wanted = min(before + max_step, max(before - max_step, wanted))
    return min(high, max(low, wanted))


def crossed(low: float, high: float) -> Iterator[OptionProblem]:
    """What is wrong with bounds that no value is between."""
    if low > high:
        yield OptionProblem(("low",), f"{low:g} is above high, which is {high:g}. Lower it.")
