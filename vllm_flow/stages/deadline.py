"""Deadlines: a conversation that is over at a certain time, with answers that get shorter as it comes near."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from vllm_flow.core.errors import FlowError
from vllm_flow.core.options import above, at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Clock
from vllm_flow.core.sampling import FrozenDict
from vllm_flow.core.sampling_plan import STATE
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Context

DEADLINE = "deadline"
"""The name under which a schedule keeps what is known of the time."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a conversation's answers took so far, and how many tokens they had."""

    seconds: float = 0.0
    tokens: int = 0

    def after(self, asked: datetime, ended: str | None, tokens: int) -> Pace:
        """With one more turn. When it ended is None where context/update has no clock: then it tells nothing."""
        if ended is None:
            return self
        took = (datetime.fromisoformat(ended) - asked).total_seconds()
        return Pace(self.seconds + max(0.0, took), self.tokens + tokens)

    @property
    def tokens_per_second(self) -> float | None:
        return self.tokens / self.seconds if self.seconds > 0 and self.tokens > 0 else None


@stage("schedule/deadline")
@dataclass(frozen=True)
class Deadline:
    """A schedule whose max_tokens is what can be said in the time that is left to the conversation.

    The time runs from when the first turn was planned, pauses of the user included. How fast answers come is measured
    from the turns before, from planning to commit, if context/update has this schedule and the clock. When too little
    time is left, the turn fails and says so. A turn that is being answered is never cut off by the clock.
    """

    seconds: Annotated[float, above(0)]
    """How long the conversation may last."""
    tokens_per_second: Annotated[float | None, above(0)] = None
    """How fast answers come, as long as it is not measured; null: the first one may be as long as it likes."""
    least: Annotated[int, at_least(1)] = 1
    """An answer of fewer tokens is not worth its prompt."""

    def run(self, schedule: Schedule, context: Context, clock: Clock) -> Schedule:
        state: Mapping[str, Any] = context.state.get(STATE, {})
        known, now = state.get("last", {}).get(DEADLINE), clock.now()
        began, pace, answered = now, Pace(), schedule.used_answer_tokens
        if known is not None:
            began, pace = datetime.fromisoformat(known["began"]), Pace(*known["pace"])
            if answered is not None and known["answered"] is not None:
                asked = datetime.fromisoformat(known["asked"])
                pace = pace.after(asked, state.get("ended"), answered - known["answered"])
        left = self.seconds - (now - began).total_seconds()
        most = min(schedule.sampling.max_tokens, self._room(left, pace))
        kept = {"began": began.isoformat(), "asked": now.isoformat(), "answered": answered}
        return _shortened(schedule, most, {**kept, "pace": [pace.seconds, pace.tokens]})

    def foresee(self, schedule: Schedule, clock: object) -> Schedule:
        """All of it but how long the answer may be, which the clock says."""
        return _shortened(schedule, schedule.sampling.max_tokens, None)

    def _room(self, left: float, pace: Pace) -> int:
        """How many tokens there is time for. Raises FlowError when it is too late."""
        speed = pace.tokens_per_second or self.tokens_per_second
        over = f"the {self.seconds:g} seconds of this conversation are"
        advice = "Raise `seconds`, or begin another conversation."
        if left <= 0:
            raise FlowError(f"{over} over since {-left:.1f} seconds. {advice}")
        if speed is None:
            return 2**31
        if (room := int(left * speed)) < self.least:
            enough = f"enough for {room} tokens at {speed:.3g} a second, and {self.least} is the least"
            raise FlowError(f"{over} nearly over: {left:.1f} are left, {enough}. {advice}")
        return room


def _shortened(schedule: Schedule, most: int, kept: Mapping[str, Any] | None) -> Schedule:
    sampling = dataclasses.replace(schedule.sampling, max_tokens=most)
    return dataclasses.replace(schedule, sampling=sampling, keeps=FrozenDict({**schedule.keeps, DEADLINE: kept}))
