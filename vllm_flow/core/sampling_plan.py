"""The sampling plan: what `sampling` says, each parameter a number or a schedule, in one place.

From it the schedule of one answer is made. What moves from turn to turn is then a number; what moves from token to
token stays a function. A parameter that moves has no number here, so nobody can read one that is not in force.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from vllm_flow.core.errors import listed, nearest, shown
from vllm_flow.core.moving import Moving, Now
from vllm_flow.core.option_checks import problems
from vllm_flow.core.options import OptionProblem, build, schema_of, written
from vllm_flow.core.phrases import JsonSchema, takes
from vllm_flow.core.ranges import RANGES
from vllm_flow.core.registry import schedule
from vllm_flow.core.sampling import NEUTRAL, FrozenDict, Sampling
from vllm_flow.core.schedule import Course, Schedule, steer
from vllm_flow.core.values import Turn

STATE = "sampling"
"""The key of a conversation's state under which schedules keep what they have to remember."""
FIRST_TOKENS = ("max_tokens", "min_tokens", "n")
"""What is settled when an answer begins."""


@dataclass(frozen=True, slots=True)
class SamplingPlan:
    """Sampling parameters as configured."""

    numbers: Sampling = NEUTRAL
    """Those that stay as they are; one that moves is neutral here."""
    moving: Mapping[str, Moving] = field(default_factory=FrozenDict)
    """The schedules of the others, by name."""

    def changed(self, changes: Mapping[str, Any]) -> SamplingPlan:
        """With these parameters in place of its own, each a number or a schedule as a configuration has it."""
        other = self.option_read(changes)
        numbers = {name: getattr(other.numbers, name) for name in changes if name not in other.moving}
        numbers |= {name: getattr(NEUTRAL, name) for name in other.moving}
        kept = {name: one for name, one in self.moving.items() if name not in changes}
        return SamplingPlan(dataclasses.replace(self.numbers, **numbers), FrozenDict({**kept, **other.moving}))

    @property
    def start(self) -> Sampling:
        """What is in force at the first token of the first turn."""
        return self.schedule().at(0)

    @property
    def remembers(self) -> list[str]:
        """The parameters whose schedules need to know in a turn what was in the one before."""
        return [name for name, one in self.moving.items() if one.remembers]

    def most(self, name: str) -> float:
        """The largest value that a parameter may have, as far as its schedule says so."""
        moving = self.moving.get(name)
        return float(getattr(self.numbers, name)) if moving is None else moving.most(float(getattr(self.start, name)))

    def foreseen(self) -> Schedule:
        """Of the first turn, and what will move from there on. Raises EngineError as `steer` does."""
        by_turn = {name: one for name, one in self.moving.items() if not one.per_token}
        return dataclasses.replace(self.schedule(), by_turn=FrozenDict(by_turn))

    def schedule(self, turn: Turn | None = None, state: Mapping[str, Any] = FrozenDict()) -> Schedule:
        """Of the answer to this turn; `state` is that of its conversation. Raises EngineError as `steer` does."""
        kept = state.get(STATE, {})
        if not self.moving and not kept:
            return Schedule(self.numbers)
        number, done, feedback = (1, None, None) if turn is None else (turn.number or 1, turn.progress, turn.feedback)
        now = Now(
            turn=number,
            max_tokens=self.numbers.max_tokens,
            done=done,
            feedback=kept.get("feedback") if feedback is None else feedback,
            used_prompt_tokens=kept.get("used_prompt_tokens", 0),
            used_answer_tokens=kept.get("used_answer_tokens", 0),
        )
        numbers, keeps = self._of_the_turn(now, kept.get("last", {}))
        moving = FrozenDict({name: one for name, one in self.moving.items() if one.per_token})
        settled = dataclasses.replace(self.numbers, **numbers)
        used = now.used_prompt_tokens, now.used_answer_tokens
        schedule = Schedule(settled, moving, now.turn, now.done, now.feedback, *used, keeps)
        return dataclasses.replace(schedule, sampling=Course(schedule).next(0)) if moving else schedule

    def _of_the_turn(self, now: Now, last: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]]:
        """The values of what moves from turn to turn, and what of it is to be kept."""
        numbers, keeps = dict[str, Any](), dict[str, Any]()
        for name, one in self.moving.items():
            if one.per_token:
                continue
            now.before, now.state = last.get(name, (None, None)) if one.remembers else (None, None)
            steered = steer(name, one, now)
            numbers[name] = steered.value
            if one.remembers:
                keeps[name] = (steered.value, steered.state)
        return numbers, FrozenDict(keeps)

    @classmethod
    def option_schema(cls) -> JsonSchema:
        """Of a mapping in which each number may be a schedule instead."""
        schema = schema_of(Sampling)
        properties = {name: _or_moving(name, one) for name, one in schema["properties"].items()}
        return {**schema, "properties": properties}

    @classmethod
    def option_problems(cls, given: Mapping[str, Any]) -> Iterator[OptionProblem]:
        """Everything wrong with parameters as written."""
        plain = {name: value for name, value in given.items() if not _moves(name, value)}
        yield from problems(Sampling, plain)
        for name, value in given.items():
            if not _moves(name, value):
                continue
            if isinstance(value, str) and schedule.find(value) is None:
                yield OptionProblem((name,), neither(name, value))
                continue
            found = list(Moving.option_problems(value))
            yield from (OptionProblem((name, *one.path), one.problem) for one in found)
            if not found:
                yield from (OptionProblem((name,), one) for one in _unfit(name, Moving.option_read(value)))

    @classmethod
    def option_read(cls, given: Mapping[str, Any]) -> Self:
        """From what has no `option_problems`."""
        moving = {name: Moving.option_read(value) for name, value in given.items() if _moves(name, value)}
        plain = {name: value for name, value in given.items() if name not in moving}
        return cls(build(Sampling, plain), FrozenDict(moving))

    def option_written(self, defaults: bool) -> dict[str, Any]:
        numbers = written(self.numbers, defaults=defaults)
        return {**numbers, **{name: one.option_written(defaults) for name, one in self.moving.items()}}


def neither(name: str, value: str, also: Iterable[str] = ()) -> str:
    """What to say of a text that is no schedule's name; `also` are names that could have been registered."""
    names = {*(one.name for one in schedule), *also}
    takes = f"It takes {RANGES[name].phrase}, or a schedule: {listed(names)}."
    return f"{shown(value)} does not fit.{nearest(value, names)} {takes}"


def _moves(name: str, value: Any) -> bool:
    return name in RANGES and isinstance(value, Mapping | str)


def _or_moving(name: str, schema: JsonSchema) -> JsonSchema:
    if name not in RANGES:
        return schema
    anything = [*schema.get("anyOf", [schema]), {"type": "object"}, {"type": "string"}]
    return {"title": f"{takes(schema)}, or a schedule", "anyOf": anything}


def _unfit(name: str, moving: Moving) -> Iterator[str]:
    """Why a schedule, sound by itself, is none for this parameter."""
    if moving.steers is not None and name not in moving.steers:
        yield f"'{moving.name}' steers {listed(moving.steers)}, and nothing else. Write it there."
    elif name in FIRST_TOKENS and moving.per_token:
        yield f"it is settled when an answer begins, and '{moving.name}' moves within one. Let it move `by: turn`."
    elif moving.bounds is not None:
        for value in dict.fromkeys(moving.bounds):
            if not RANGES[name].holds(RANGES[name].rounded(value)):
                yield f"'{moving.name}' comes to {value:g}. {name} takes {RANGES[name].phrase}."
