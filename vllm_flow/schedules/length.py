"""Length: an answer of about so many tokens, ended by the model and not cut off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from vllm_flow.core.moving import Now
from vllm_flow.core.options import OptionProblem, above, at_least, between
from vllm_flow.core.registry import schedule
from vllm_flow.schedules.limits import crossed, limited


@schedule("target_length")
@dataclass(frozen=True)
class TargetLength:
    """An end_bias that makes an answer about so long: slope (x - tokens) at token x, within bounds."""

    tokens: Annotated[int, at_least(1)]
    """How long the answer is to be. Before, its end is held back; afterwards it is pressed for."""
    slope: Annotated[float, above(0)] = 0.1
    """How much is added with each token. The larger, the nearer to `tokens` it ends, and the less where it would.
    Where `hysteresis` is 0, it is also the largest step."""
    low: Annotated[float, between(-100, 100)] = -10.0
    high: Annotated[float, between(-100, 100)] = 10.0
    hysteresis: Annotated[float, at_least(0)] = 0.0
    """A change smaller than this is not made: it then goes in steps that are as large."""

    steers: ClassVar = frozenset({"end_bias"})

    def problems(self) -> Iterator[OptionProblem]:
        yield from crossed(self.low, self.high)

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high

    def at(self, now: Now) -> float:
        wanted = self.slope * (now.token - self.tokens)
        return limited(wanted, now.before, self.low, self.high, hysteresis=self.hysteresis)
