"""The schedule of one answer, and the course that the answer takes through it.

A `Schedule` is data: the values at the first token, and the schedules of those parameters that move on from there. A
`Course` belongs to one answer in the making. An engine asks it at each token, hands it the signals that it `needs`, and
publishes what was in force: so the record says what was, and not what was meant.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vllm_flow.core.errors import EngineError, FlowError, told
from vllm_flow.core.moving import Moving, Now, Signal, Steered
from vllm_flow.core.ranges import RANGES
from vllm_flow.core.sampling import FrozenDict, Sampling

NOTHING: Mapping[str, Any] = FrozenDict()


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which sampling parameters are in force at each generated token of one answer.

    What ends the answer, `max_tokens`, `min_tokens`, `stop` and `stop_token_ids`, is that of its first token.
    """

    sampling: Sampling
    """At the first token, as far as it can be known before there is a signal."""
    moving: Mapping[str, Moving] = field(default_factory=FrozenDict)
    """What changes within the answer, by the parameter's name."""
    turn: int = 1
    done: float | None = None
    """See Now."""
    feedback: float | None = None
    used_prompt_tokens: int | None = 0
    used_answer_tokens: int | None = 0
    keeps: Mapping[str, Any] = field(default_factory=FrozenDict, hash=False)
    """What is to be saved with this turn for the next: JSON values, by the parameter's name or a stage's."""
    by_turn: Mapping[str, Moving] = field(default_factory=FrozenDict)
    """Of one that is foreseen: what will be another number in later turns, so that an engine can refuse it now."""

    def after(
        self, prompt_tokens: int | None, answer_tokens: int | None, feedback: float | None = None
    ) -> dict[str, Any]:
        """What the conversation's state is to hold for the next turn; nothing when no schedule remembers anything.

        The tokens are those of this turn. feedback: how the answer is liked, from -1 to 1.
        """
        if not self.keeps and feedback is None:
            return {}
        state: dict[str, Any] = {"last": dict(self.keeps)}
        state["used_prompt_tokens"] = _more(self.used_prompt_tokens, prompt_tokens)
        state["used_answer_tokens"] = _more(self.used_answer_tokens, answer_tokens)
        return state | ({} if feedback is None else {"feedback": feedback})

    @property
    def needs(self) -> frozenset[str]:
        """The signals that an engine has to give."""
        return frozenset().union(*(one.needs for one in self.moving.values()))

    def at(self, token: int) -> Sampling:
        """The values for the generated token with this index, from 0; what needs signals is at its beginning.

        As planned, that is: what was in force a course knows. Raises EngineError as a course does.
        """
        return Course(self).next(token) if self.moving else self.sampling


def _more(used: int | None, tokens: int | None) -> int | None:
    return None if used is None or tokens is None else used + tokens


class Course:
    """One answer's way through its schedule: ask for each token once, in order. A copy goes on from the same place."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._sampling = schedule.sampling
        self._now = Now(
            turn=schedule.turn,
            max_tokens=schedule.sampling.max_tokens,
            done=schedule.done,
            feedback=schedule.feedback,
            used_prompt_tokens=schedule.used_prompt_tokens,
            used_answer_tokens=schedule.used_answer_tokens,
        )
        self._last: Mapping[str, Steered] = {}
        self._names = _names(schedule.moving)
        self.needs = schedule.needs
        self.values: Mapping[str, float] = {}
        """Of what moves, the values in force at the newest token."""
        self.signals: dict[str, float] = {}
        """What they were told for it."""

    def next(self, token: int, output: Sequence[int] = (), signals: Mapping[Signal, float] = FrozenDict()) -> Sampling:
        """The values for this token. Raises EngineError as `steer` does."""
        now, moving = self._now, self._schedule.moving
        if not moving:
            return self._sampling
        now.token, now.output = token, output
        now.entropy, now.surprise = signals.get("entropy"), signals.get("surprise")
        given = dict[str, Steered]()
        for name, one in moving.items():
            last = self._last.get(name)
            now.before, now.state = (None, None) if last is None else (last.value, last.state)
            given[name] = steer(name, one, now)
        self._last = given  # another one, so that a copy of this course stays where it is
        values: dict[str, Any] = {name: steered.value for name, steered in given.items()}
        own = {self._names[name]: steered.signal for name, steered in given.items()}
        self.signals = {name: value for name, value in signals.items() if name in self.needs}
        self.signals |= {name: value for name, value in own.items() if value is not None}
        if values != self.values:
            self.values = values
            self._sampling = dataclasses.replace(self._schedule.sampling, **values)
        return self._sampling


def _names(moving: Mapping[str, Moving]) -> Mapping[str, str]:
    """Under which name each parameter's schedule is told: its own, with the parameter where several have that."""
    own = [one.name for one in moving.values()]
    return {name: one.name if own.count(one.name) == 1 else f"{one.name} of {name}" for name, one in moving.items()}


def steer(name: str, moving: Moving, now: Now) -> Steered:
    """What a schedule gives its parameter. Raises EngineError when it fails, or gives what that cannot be."""
    try:
        given = moving.at(now)
        value = RANGES[name].rounded(given.value)
    except FlowError as error:  # it says itself what is wrong
        raise EngineError(f"sampling.{name}: {error}") from error
    except Exception as error:  # a schedule is anybody's code
        raise EngineError(
            f"sampling.{name}: the schedule '{moving.name}' fails at token {now.token}: {told(error)}"
        ) from error
    if not math.isfinite(value) or not RANGES[name].holds(value):
        what = f"the schedule '{moving.name}' gave {value:g} at token {now.token}"
        raise EngineError(f"sampling.{name}: {what}. It takes {RANGES[name].phrase}.")
    return Steered(value, given.state, given.signal)
