"""Combined schedules: sums, products, limits and sequences of others. A number is a schedule, too."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from vllm_flow.core.moving import Axis, Moving, Now, Steered
from vllm_flow.core.options import OptionProblem, above
from vllm_flow.core.registry import schedule
from vllm_flow.schedules.curves import Linear
from vllm_flow.schedules.limits import crossed

Bounds = tuple[float, float]


class Several:
    """What schedules of other schedules say of themselves: what those say."""

    @property
    def parts(self) -> tuple[Moving, ...]:
        raise NotImplementedError

    @property
    def per_token(self) -> bool:
        return any(one.per_token for one in self.parts)

    @property
    def needs(self) -> frozenset[str]:
        return frozenset().union(*(one.needs for one in self.parts))

    @property
    def remembers(self) -> bool:
        return any(one.remembers for one in self.parts)

    @property
    def steers(self) -> frozenset[str] | None:
        made_for = [one.steers for one in self.parts if one.steers is not None]
        return frozenset.intersection(*made_for) if made_for else None

    def problems(self) -> Iterator[OptionProblem]:
        """What remembers from turn to turn is asked once a turn, and the rest here is at every token."""
        for one in self.parts if self.per_token else ():
            if one.remembers:
                what = f"'{one.name}' learns from turn to turn and cannot stand beside what moves within an answer"
                yield OptionProblem((), f"{what}. Let all of them move `by: turn`.")


def told(parts: Iterable[Moving], now: Now) -> list[Steered]:
    """What each of them gives, with a state of its own."""
    states = now.state or {}
    found = []
    for place, one in enumerate(parts):
        inner = copy.copy(now)
        inner.before, inner.state = states.get(str(place), (None, None))
        found.append(one.at(inner))
    return found


def kept(given: Iterable[Steered]) -> Any:
    """What is to be remembered of several: nothing, where none of them steers."""
    return {str(place): (one.value, one.state) for place, one in enumerate(given)}


def followed(given: Iterable[Steered]) -> float | None:
    """What one of them found out by itself; of several that did, nobody could tell which it is."""
    found = [one.signal for one in given if one.signal is not None]
    return found[0] if len(found) == 1 else None


@schedule("sum")
@dataclass(frozen=True)
class Sum(Several):
    """The sum of several: a slow fall with a ripple on it."""

    of: tuple[Moving, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", tuple(Moving.of(one) for one in self.of))

    @property
    def parts(self) -> tuple[Moving, ...]:
        return self.of

    @property
    def bounds(self) -> Bounds | None:
        known = [one.bounds for one in self.of]
        if any(one is None for one in known):
            return None
        return sum(one[0] for one in known if one), sum(one[1] for one in known if one)

    def at(self, now: Now) -> Steered:
        given = told(self.of, now)
        return Steered(sum(one.value for one in given), kept(given), followed(given))


@schedule("product")
@dataclass(frozen=True)
class Product(Several):
    """The product of several: the fall within an answer, less from turn to turn."""

    of: tuple[Moving, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", tuple(Moving.of(one) for one in self.of))

    @property
    def parts(self) -> tuple[Moving, ...]:
        return self.of

    @property
    def bounds(self) -> Bounds | None:
        low, high = 1.0, 1.0
        for one in self.of:
            if one.bounds is None:
                return None
            corners = [mine * its if mine and its else 0.0 for mine in (low, high) for its in one.bounds]  # 0 · inf
            low, high = min(corners), max(corners)
        return low, high

    def at(self, now: Now) -> Steered:
        given = told(self.of, now)
        return Steered(math.prod(one.value for one in given), kept(given), followed(given))


@schedule("clip")
@dataclass(frozen=True)
class Clip(Several):
    """Another one, kept between two values."""

    of: Moving
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", Moving.of(self.of))

    def problems(self) -> Iterator[OptionProblem]:
        yield from crossed(*self._limits)
        yield from super().problems()

    @property
    def parts(self) -> tuple[Moving, ...]:
        return (self.of,)

    @property
    def _limits(self) -> Bounds:
        return -math.inf if self.low is None else self.low, math.inf if self.high is None else self.high

    @property
    def bounds(self) -> Bounds:
        (least, most), (low, high) = self._limits, self.of.bounds or (-math.inf, math.inf)
        return min(max(low, least), most), max(min(high, most), least)

    def at(self, now: Now) -> Steered:
        (low, high), given = self._limits, told(self.parts, now)
        return Steered(min(high, max(low, given[0].value)), kept(given), followed(given))


@schedule("then")
@dataclass(frozen=True)
class Then(Several):
    """One, and after some tokens or turns another, which begins at its own beginning."""

    first: Moving
    next: Moving
    after: Annotated[float, above(0)]
    """How many tokens or turns, or which share of the task, the first one lasts."""
    by: Axis = "token"

    def __post_init__(self) -> None:
        object.__setattr__(self, "first", Moving.of(self.first))
        object.__setattr__(self, "next", Moving.of(self.next))

    @property
    def parts(self) -> tuple[Moving, ...]:
        return self.first, self.next

    @property
    def per_token(self) -> bool:
        return self.by != "turn" or super().per_token

    @property
    def bounds(self) -> Bounds | None:
        one, other = self.first.bounds, self.next.bounds
        return None if one is None or other is None else (min(one[0], other[0]), max(one[1], other[1]))

    def at(self, now: Now) -> Steered:
        if now.on(self.by) < self.after:
            (given,) = told((self.first,), now)
            return Steered(given.value, kept((given,)), given.signal)
        later = copy.copy(now)
        states = now.state or {}
        later.before, later.state = states.get("1", (None, None))
        match self.by:
            case "token":
                later.token = now.token - math.ceil(self.after)
            case "turn":
                later.turn = now.turn - math.ceil(self.after)
            case "progress":
                if now.done is None:  # then progress is counted in tokens
                    later.token = max(0, now.token - math.ceil(self.after * now.max_tokens))
                later.done = (now.progress - self.after) / (1 - self.after) if self.after < 1 else 1.0
        given = self.next.at(later)
        return Steered(given.value, {"1": (given.value, given.state)}, given.signal)


@schedule("warmup")
@dataclass(frozen=True)
class WarmUp(Several):
    """In a straight line up to a value, and from there on another (Goyal 2017, arXiv:1706.02677)."""

    to: float
    over: Annotated[float, above(0)]
    from_: float = 0.0
    then: Moving | None = None
    """What follows, from its own beginning; null stays at `to`."""
    by: Axis = "token"

    def __post_init__(self) -> None:
        if self.then is not None:
            object.__setattr__(self, "then", Moving.of(self.then))

    @property
    def _both(self) -> Then:
        rise = Moving("linear", Linear(self.from_, self.to, self.over, self.by))
        return Then(rise, Moving.of(self.to) if self.then is None else self.then, self.over, self.by)

    @property
    def parts(self) -> tuple[Moving, ...]:
        return self._both.parts

    @property
    def per_token(self) -> bool:
        return self._both.per_token

    @property
    def bounds(self) -> Bounds | None:
        return self._both.bounds

    def at(self, now: Now) -> Steered:
        return self._both.at(now)
