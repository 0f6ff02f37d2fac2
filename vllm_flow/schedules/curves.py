"""Curves: pure functions of where an answer or a conversation is, with the names that optimisers' schedules have.

Each moves `by` token, turn or progress, and `over` is in those: tokens, turns, or a share of the task. `value(x)` is
the formula, from x = 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, Protocol

from vllm_flow.core.moving import Axis, Now
from vllm_flow.core.options import OptionProblem, above
from vllm_flow.core.registry import schedule


class Curve(Protocol):
    """What the curves here share: an axis, and a value at each place on it."""

    @property
    def by(self) -> Axis: ...

    def value(self, x: float) -> float: ...


def moves_within(curve: Curve) -> bool:
    return curve.by != "turn"


@schedule("constant")
@dataclass(frozen=True)
class Constant:
    """One value, always: a part of a sum or of a sequence."""

    value: float

    @property
    def per_token(self) -> bool:
        return False

    @property
    def bounds(self) -> tuple[float, float]:
        return self.value, self.value

    def at(self, now: Now) -> float:
        return self.value


@schedule("linear")
@dataclass(frozen=True)
class Linear:
    """In a straight line from one value to another, and then that: from + (to - from) x / over."""

    from_: float
    to: float
    over: Annotated[float, above(0)]
    """After how many tokens or turns, or at which share of the task, `to` is reached."""
    by: Axis = "token"

    @property
    def per_token(self) -> bool:
        return moves_within(self)

    @property
    def bounds(self) -> tuple[float, float]:
        return ordered(self.from_, self.to)

    def value(self, x: float) -> float:
        return self.to if x >= self.over else self.from_ + (self.to - self.from_) * x / self.over

    def at(self, now: Now) -> float:
        return self.value(now.on(self.by))


@schedule("cosine")
@dataclass(frozen=True)
class Cosine:
    """Along half a cosine, slow at both ends: to + (from - to) (1 + cos(pi x / over)) / 2 (SGDR, arXiv:1608.03983)."""

    from_: float
    to: float
    over: Annotated[float, above(0)]
    """After how many tokens or turns, or at which share of the task, `to` is reached."""
    by: Axis = "token"

    @property
    def per_token(self) -> bool:
        return moves_within(self)

    @property
    def bounds(self) -> tuple[float, float]:
        return ordered(self.from_, self.to)

    def value(self, x: float) -> float:
        if x >= self.over:
            return self.to
        return self.to + (self.from_ - self.to) * (1 + math.cos(math.pi * x / self.over)) / 2

    def at(self, now: Now) -> float:
        return self.value(now.on(self.by))


@schedule("exponential")
@dataclass(frozen=True)
class Exponential:
    """By the same factor again and again, towards a limit: limit + (from - limit) factor^(x / every)."""

    from_: float
    factor: Annotated[float, above(0)]
    every: Annotated[float, above(0)] = 1.0
    limit: float = 0.0
    """What it comes ever nearer to, with a factor below 1."""
    by: Axis = "token"

    def problems(self) -> Iterator[OptionProblem]:
        if self.factor > 1:
            what = f"{self.factor:g} makes it grow without end. Use a factor of at most 1, or `clip` around it."
            yield OptionProblem(("factor",), what)

    @property
    def per_token(self) -> bool:
        return moves_within(self)

    @property
    def bounds(self) -> tuple[float, float]:
        return ordered(self.from_, self.limit if self.factor < 1 else self.from_)

    def value(self, x: float) -> float:
        return float(self.limit + (self.from_ - self.limit) * self.factor ** (x / self.every))

    def at(self, now: Now) -> float:
        return self.value(now.on(self.by))


@schedule("step")
@dataclass(frozen=True)
class Step:
    """By the same factor, in steps, down to a limit: limit + (from - limit) factor^floor(x / every)."""

    from_: float
    factor: Annotated[float, above(0)]
    every: Annotated[float, above(0)]
    """How long each step is."""
    limit: float = 0.0
    by: Axis = "token"

    def problems(self) -> Iterator[OptionProblem]:
        yield from Exponential(self.from_, self.factor, self.every, self.limit, self.by).problems()

    @property
    def per_token(self) -> bool:
        return moves_within(self)

    @property
    def bounds(self) -> tuple[float, float]:
        return ordered(self.from_, self.limit if self.factor < 1 else self.from_)

    def value(self, x: float) -> float:
        return float(self.limit + (self.from_ - self.limit) * self.factor ** math.floor(x / self.every))

    def at(self, now: Now) -> float:
        return self.value(now.on(self.by))


@schedule("piecewise")
@dataclass(frozen=True)
class Piecewise:
    """Through given points, in straight lines or holding each value until the next: [[0, 1.0], [64, 0.5]]."""

    points: tuple[tuple[float, ...], ...]
    """Pairs of a place and the value there, places rising. Before the first and after the last its value holds."""
    between: Literal["linear", "hold"] = "linear"
    by: Axis = "token"

    def problems(self) -> Iterator[OptionProblem]:
        if not self.points or any(len(one) != 2 for one in self.points):
            yield OptionProblem(("points",), "it takes pairs of a place and a value, such as [[0, 1.0], [64, 0.5]].")
        elif any(one[0] >= other[0] for one, other in pairwise(self.points)):
            yield OptionProblem(("points",), "their places do not rise. Sort them, and name no place twice.")

    @property
    def per_token(self) -> bool:
        return moves_within(self)

    @property
    def bounds(self) -> tuple[float, float]:
        values = [value for _, value in self.points]
        return min(values), max(values)

    def value(self, x: float) -> float:
        before = [one for one in self.points if one[0] <= x]
        after = [one for one in self.points if one[0] > x]
        if not before or not after or self.between == "hold":
            return before[-1][1] if before else after[0][1]
        (start, low), (end, high) = before[-1], after[0]
        return low + (high - low) * (x - start) / (end - start)

    def at(self, now: Now) -> float:
        return self.value(now.on(self.by))


@schedule("cyclic")
@dataclass(frozen=True)
class Cyclic:
    """Up and down between two values, in straight lines, again and again (triangular; Smith 2017, arXiv:1506.01186)."""

    low: float
    high: float
    period: Annotated[float, above(0)]
    """From one low to the next."""
    by: Axis = "token"

    @property
    def per_token(self) -> bool:
        return moves_within(self)

    @property
    def bounds(self) -> tuple[float, float]:
        return ordered(self.low, self.high)

    def value(self, x: float) -> float:
        phase = x / self.period - math.floor(x / self.period)
        return self.low + (self.high - self.low) * (1 - abs(2 * phase - 1))

    def at(self, now: Now) -> float:
        return self.value(now.on(self.by))


def ordered(one: float, other: float) -> tuple[float, float]:
    return min(one, other), max(one, other)
