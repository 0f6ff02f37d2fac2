"""Entropy: values that follow how undecided the model is about the token that is about to be drawn, in nats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from vllm_flow.core.moving import Now
from vllm_flow.core.options import OptionProblem, above, above_up_to, at_least
from vllm_flow.core.registry import schedule
from vllm_flow.schedules.curves import ordered
from vllm_flow.schedules.limits import crossed, limited


@schedule("edt", needs=("entropy",))
@dataclass(frozen=True)
class Edt:
    """Temperature by entropy H: t0 base^(theta / H), cold where the model is sure (Zhang 2024, arXiv:2403.14541)."""

    t0: Annotated[float, above(0)]
    """What it comes ever nearer to as the entropy grows."""
    theta: Annotated[float, above(0)]
    """How strongly it cools, in nats: at an entropy of `theta` to `base` times `t0`."""
    base: Annotated[float, above_up_to(0, 1)] = 0.8
    """N of the paper, which keeps it at 0.8."""
    low: Annotated[float, at_least(0)] = 0.0
    high: Annotated[float, at_least(0)] = 2.0
    max_step: Annotated[float | None, above(0)] = None
    """The largest change from one token to the next; null is any."""
    hysteresis: Annotated[float, at_least(0)] = 0.0
    """A change smaller than this is not made."""

    steers: ClassVar = frozenset({"temperature"})

    def problems(self) -> Iterator[OptionProblem]:
        yield from crossed(self.low, self.high)

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high

    def at(self, now: Now) -> float:
        wanted = self.t0 if now.before is None else now.before
        if now.entropy is not None:
            wanted = self.t0 * self.base ** (self.theta / now.entropy) if now.entropy > 0 else 0.0
        return limited(wanted, now.before, self.low, self.high, max_step=self.max_step, hysteresis=self.hysteresis)


@schedule("entropy", needs=("entropy",))
@dataclass(frozen=True)
class ByEntropy:
    """Between two values by entropy H: from + (to - from) min(1, H / at_nats)^exponent (llama.cpp's dynatemp)."""

    from_: float
    """The value at an entropy of 0."""
    to: float
    """The value at an entropy of `at_nats`, and above."""
    at_nats: Annotated[float, above(0)] = 4.0
    exponent: Annotated[float, above(0)] = 1.0
    max_step: Annotated[float | None, above(0)] = None
    """The largest change from one token to the next; null is any."""
    hysteresis: Annotated[float, at_least(0)] = 0.0
    """A change smaller than this is not made."""

    @property
    def bounds(self) -> tuple[float, float]:
        return ordered(self.from_, self.to)

    def at(self, now: Now) -> float:
        wanted = self.from_ if now.before is None else now.before
        if now.entropy is not None:
            wanted = self.from_ + (self.to - self.from_) * min(1.0, now.entropy / self.at_nats) ** self.exponent
        return limited(wanted, now.before, *self.bounds, max_step=self.max_step, hysteresis=self.hysteresis)
