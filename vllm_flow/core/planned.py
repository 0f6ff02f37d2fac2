"""Planned: what schedules will give, as far as that is known before a run: the same functions, asked in the same order.

What follows something that only a run can tell is known at its beginning, and within its bounds. Which these are is
seen from what a schedule reads, so that nobody need declare it, and no plan is drawn that was made of nothing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.moving import Axis, Moving, Now, Steered
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.refusals import Foreseen, foreseen
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.schedule import Schedule, steer
from vllm_flow.core.spec import Path

MOST_TOKENS = 65_536
"""Further than this nothing is planned."""
FEWEST_TURNS, MOST_TURNS = 8, 32
STEPS = 256
"""Of a task's progress."""
TOLD_BY_A_RUN = {
    "entropy": "entropy", "surprise": "surprise", "output": "the tokens generated", "feedback": "feedback",
    "used_prompt_tokens": "the tokens used", "used_answer_tokens": "the tokens used",
}  # fmt: skip
KNOWN = frozenset(one.name for one in dataclasses.fields(Now))
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Planned:
    """What one parameter will be."""

    parameter: str
    schedule: str
    """Its name."""
    axis: Axis
    values: tuple[float, ...]
    """At each token or turn, or at equal steps of progress from 0 to 1; only the first of what follows anything."""
    bounds: tuple[float, float] | None
    follows: tuple[str, ...] = ()
    """What only a run can tell."""
    length: int = 1
    """How many tokens or turns are planned."""

    @property
    def extent(self) -> tuple[float, float] | None:
        """The lowest and the highest that it will be; None where nobody can say."""
        if not self.follows:
            return min(self.values), max(self.values)
        known = self.bounds is not None and all(map(math.isfinite, self.bounds))
        return self.bounds if known else None

    @property
    def ends(self) -> tuple[float, float]:
        """The first and the last place of its axis."""
        if self.axis == "progress":
            return 0, 1
        return (1, self.length) if self.axis == "turn" else (0, self.length - 1)

    @property
    def points(self) -> list[Point]:
        """Each value with its place: tokens from 0, turns from 1."""
        if self.axis == "progress" and len(self.values) > 1:
            return [(place / (len(self.values) - 1), value) for place, value in enumerate(self.values)]
        return [(place + (self.axis == "turn"), value) for place, value in enumerate(self.values)]


class Watched(Now):
    """A Now that knows what was read of it."""

    __slots__ = ("seen",)

    def __init__(self, **known: Any) -> None:
        self.seen = set[str]()
        super().__init__(**known)

    def __getattribute__(self, name: str) -> Any:
        if name in KNOWN:
            object.__getattribute__(self, "seen").add(name)
        return object.__getattribute__(self, name)

    def __copy__(self) -> Watched:
        """It sees with the same eyes; to be copied is not to be read."""
        other = object.__new__(Watched)
        for name in ("seen", *KNOWN):
            object.__setattr__(other, name, object.__getattribute__(self, name))
        return other

    @property
    def progress(self) -> float:
        seen = object.__getattribute__(self, "seen")
        before = set(seen)
        found = super().progress
        seen &= before
        seen.add("progress")
        return found


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What a node that makes a schedule plans, or may."""

    path: Path
    plan: SamplingPlan
    preset: str | None = None
    """Which of several plans of this node it is, of which each turn follows one."""


def plans_of(pipeline: Pipeline) -> Iterator[NodePlan]:
    """By each node's own word, by the schedule that it changes, or by what it foresees of a first turn."""
    options = {name: one.options for name, one in pipeline.resources.items() if one.options is not None}
    found = dict[Path, list[NodePlan]]()
    for one in foreseen(pipeline.graph, {"sampling": pipeline.sampling, **options}):
        found[one.path] = [*_plans(one, found)]
        yield from found[one.path]


def _plans(one: Foreseen, before: Mapping[Path, Sequence[NodePlan]]) -> Iterator[NodePlan]:
    own, sampling = getattr(one.node.stage, "planned", None), one.known.get("sampling")
    if callable(own) and isinstance(sampling, SamplingPlan):
        made = own(sampling)
        named = {None: made} if isinstance(made, SamplingPlan) else made
        yield from (NodePlan(one.path, plan, preset) for preset, plan in named.items())
    elif isinstance(one.value, Schedule):
        read = (before.get((*one.path[:-1], source), ()) for source in one.node.sources.values())
        changed = [dataclasses.replace(plan, path=one.path) for plans in read for plan in plans]
        yield from changed or [NodePlan(one.path, SamplingPlan(one.value.sampling, one.value.moving))]


def planned(plan: SamplingPlan) -> list[Planned]:
    """Of every parameter that moves, in their declared order. Raises EngineError where a schedule fails."""
    names = [name for name in Sampling.__dataclass_fields__ if name in plan.moving]
    return [_of_parameter(name, plan.moving[name], plan) for name in names]


def of_an_answer(moving: Moving, name: str, tokens: int, now: Now) -> list[float] | None:
    """The values at the first `tokens` tokens of one answer, which begins at `now`; None when a run had to tell.

    Raises EngineError where the schedule fails.
    """
    watched = _watched(now)
    values = list(_in_order(name, moving, watched, range(tokens), _token))
    return None if _followed(moving, watched) else values


def thinned(points: Sequence[Point], most: int) -> list[Point]:
    """At most so many, four or more: the first, the last, and of equal parts between them the lowest and highest."""
    if len(points) <= most:
        return list(points)
    inner, parts = points[1:-1], max(1, (most - 2) // 2)
    kept = [points[0]]
    for part in range(parts):
        some = inner[part * len(inner) // parts : (part + 1) * len(inner) // parts]
        kept += sorted({min(some, key=lambda one: one[1]), max(some, key=lambda one: one[1])})
    return [*kept, points[-1]]


def _of_parameter(name: str, moving: Moving, plan: SamplingPlan) -> Planned:
    most = int(plan.start.max_tokens) if name != "max_tokens" else 1
    watched = _watched(Now(max_tokens=most))
    start = steer(name, moving, watched).value
    axis: Axis = _axis(moving, watched)
    length = FEWEST_TURNS if axis == "turn" else min(most, MOST_TOKENS)
    if not _followed(moving, watched):
        values = _values(name, moving, watched, axis, length)
        if (seen := _axis(moving, watched)) != axis:  # what comes later looks at the token after all
            axis, watched = seen, _watched(Now(max_tokens=most))
            values = _values(name, moving, watched, axis, length)
        length = len(values)
    follows = tuple(dict.fromkeys(TOLD_BY_A_RUN[one] for one in _followed(moving, watched)))
    return Planned(name, moving.name, axis, (start,) if follows else values, moving.bounds, follows, length)


def _values(name: str, moving: Moving, watched: Watched, axis: Axis, tokens: int) -> tuple[float, ...]:
    if axis == "turn":
        return _settled(tuple(_in_order(name, moving, watched, range(1, MOST_TURNS + 1), _turn)))
    if axis == "progress":
        steps = [step / STEPS for step in range(STEPS + 1)]
        return tuple(_in_order(name, moving, watched, steps, _progress))
    return tuple(_in_order(name, moving, watched, range(tokens), _token))


def _axis(moving: Moving, watched: Watched) -> Axis:
    if not moving.per_token:
        return "turn"
    return "progress" if "progress" in watched.seen and "token" not in watched.seen else "token"


def _followed(moving: Moving, watched: Watched) -> list[str]:
    return [name for name in TOLD_BY_A_RUN if name in watched.seen or name in moving.needs]


def _in_order(
    name: str, moving: Moving, now: Watched, places: Sequence[float], put: Callable[[Now, Any], None]
) -> Iterator[float]:
    last: Steered | None = None
    for place in places:
        put(now, place)
        remembers = moving.per_token or moving.remembers
        now.before, now.state = (None, None) if last is None or not remembers else (last.value, last.state)
        last = steer(name, moving, now)
        yield last.value


def _token(now: Now, place: int) -> None:
    now.token = place


def _turn(now: Now, place: int) -> None:
    now.turn = place


def _progress(now: Now, place: float) -> None:
    now.done = place


def _settled(values: tuple[float, ...]) -> tuple[float, ...]:
    """Up to a little after the last change; what never settles as far as it goes."""
    last = max((place for place in range(1, len(values)) if values[place] != values[place - 1]), default=0)
    return values[: max(FEWEST_TURNS, last + 3)]


def _watched(now: Now) -> Watched:
    return Watched(**{name: getattr(now, name) for name in KNOWN})
