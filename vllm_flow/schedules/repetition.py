"""Repetition: a penalty that is as high as it has to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from vllm_flow.core.moving import Now, Steered
from vllm_flow.core.options import OptionProblem, above, at_least, between
from vllm_flow.core.registry import schedule
from vllm_flow.schedules.limits import crossed, limited


@schedule("repetition")
@dataclass(frozen=True)
class Repetition:
    """A penalty that rises while more of the newest n-grams repeat than wanted, and falls again (integral control).

    It begins at `low`, and each token adds `gain` times the share of repeated n-grams above the target. The share is
    1 - different n-grams / n-grams, seq-rep-n of Welleck 2020 (arXiv:1908.04319), of the answer's newest tokens.
    """

    low: float
    """Where it begins: the value that is no penalty, or as little as there is always to be."""
    high: float
    target: Annotated[float, between(0, 1)] = 0.05
    """Which share of the n-grams may be a repeat."""
    gain: Annotated[float, above(0)] = 0.05
    n: Annotated[int, at_least(1)] = 3
    """How many tokens make an n-gram."""
    window: Annotated[int, at_least(2)] = 128
    """How many of the newest tokens are looked at."""
    max_step: Annotated[float | None, above(0)] = None
    """The largest change from one token to the next; null is any."""
    hysteresis: Annotated[float, at_least(0)] = 0.0
    """A change smaller than this is not made: what is to be added is kept until it is as much."""

    steers: ClassVar = frozenset({"repetition_penalty", "frequency_penalty", "presence_penalty", "dry_multiplier"})

    def problems(self) -> Iterator[OptionProblem]:
        yield from crossed(self.low, self.high)
        if self.window <= self.n:
            what = f"{self.window} tokens hold no two n-grams of {self.n}. Raise it."
            yield OptionProblem(("window",), what)

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high

    def at(self, now: Now) -> Steered:
        share = repeated(now.output[-self.window :], self.n)
        due = self.low if now.state is None else now.state
        due = due if share is None else min(self.high, max(self.low, due + self.gain * (share - self.target)))
        value = limited(due, now.before, self.low, self.high, max_step=self.max_step, hysteresis=self.hysteresis)
        return Steered(value, due, share)


def repeated(tokens: Sequence[int], n: int) -> float | None:
    """The share of n-grams that stand earlier; None where there is no n-gram."""
    found = list(zip(*(tokens[start:] for start in range(n)), strict=False))
    return 1 - len(set(found)) / len(found) if found else None
