"""Feedback: a value that learns from turn to turn how answers are liked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

from vllm_flow.core.moving import Now, Steered
from vllm_flow.core.options import OptionProblem, above, at_least, between
from vllm_flow.core.registry import schedule
from vllm_flow.schedules.limits import crossed, limited


@schedule("feedback", per_token=False)
@dataclass(frozen=True)
class Feedback:
    """Turn by turn up or down by how the answer before was liked: + gain (feedback - target) (integral control).

    Feedback is from -1 to 1: what the turn says, or the score that context/update is given. Without, nothing changes.
    """

    start: float
    """The value of the first turn."""
    gain: float
    """How far an error of 1 moves it; below 0 it falls where the answer was liked better than the target."""
    low: float
    high: float
    target: Annotated[float, between(-1, 1)] = 0.0
    max_step: Annotated[float | None, above(0)] = None
    """The largest change from one turn to the next; null is any."""
    hysteresis: Annotated[float, at_least(0)] = 0.0
    """Feedback that is nearer to the target than this changes nothing."""

    remembers: ClassVar = True

    def problems(self) -> Iterator[OptionProblem]:
        yield from crossed(self.low, self.high)
        if not self.low <= self.start <= self.high:
            what = f"{self.start:g} is not between low and high, {self.low:g} and {self.high:g}. Put it there."
            yield OptionProblem(("start",), what)

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high

    def at(self, now: Now) -> Steered:
        before = self.start if now.state is None else float(now.state)
        error = 0.0 if now.feedback is None else now.feedback - self.target
        wanted = before + self.gain * error if abs(error) >= self.hysteresis else before
        value = limited(wanted, before, self.low, self.high, max_step=self.max_step)
        return Steered(value, value)  # as it is: the parameter's own may be rounded
