"""Mirostat: the surprise of what is said, held at a target by how far the tail is cut off."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from vllm_flow.core.moving import Now, Steered
from vllm_flow.core.options import OptionProblem, above, above_up_to, at_least, between
from vllm_flow.core.registry import schedule
from vllm_flow.schedules.limits import crossed, limited

NATS_PER_BIT = math.log(2)


@schedule("mirostat", needs=("surprise",))
@dataclass(frozen=True)
class Mirostat:
    """Holds the surprise at a target in bits a token, by epsilon_cutoff (Mirostat 2.0; Basu 2021, arXiv:2007.14966).

    Tokens of more surprise than mu are cut off, which is an epsilon_cutoff of 2^-mu; mu begins at twice the target, and
    after each token it falls by `rate` times what that token's surprise was above the target. That is its surprise
    among the tokens that were left, as the paper's second algorithm and llama.cpp have it.
    """

    target: Annotated[float, above(0)]
    """Bits a token. No cut makes a model more surprising than it is: see the entropy in a record."""
    rate: Annotated[float, above_up_to(0, 1)] = 0.1
    low: Annotated[float, between(0, 1)] = 0.0
    """Of epsilon_cutoff. Above 0 it also limits mu, which otherwise grows for as long as the target is not reached."""
    high: Annotated[float, above_up_to(0, 1)] = 1.0
    max_step: Annotated[float | None, above(0)] = None
    """The largest change of epsilon_cutoff from one token to the next; null is any."""
    hysteresis: Annotated[float, at_least(0)] = 0.0
    """A change of epsilon_cutoff smaller than this is not made: mu goes on, until it asks for as much."""

    steers: ClassVar = frozenset({"epsilon_cutoff"})

    def problems(self) -> Iterator[OptionProblem]:
        yield from crossed(self.low, self.high)

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high

    def at(self, now: Now) -> Steered:
        mu = 2 * self.target if now.state is None else now.state
        if now.state is not None and now.surprise is not None:
            mu -= self.rate * (now.surprise / NATS_PER_BIT - self.target)
        mu = min(-math.log2(self.low) if self.low else math.inf, max(-math.log2(self.high), mu))
        value = limited(2.0**-mu, now.before, self.low, self.high, max_step=self.max_step, hysteresis=self.hysteresis)
        return Steered(value, mu)
