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
from vllm_flow.core.values import Completion, Context

DEADLINE = "deadline"
"""The name under which a schedule keeps what is known of the time."""


@stage("schedule/deadline")
@dataclass(frozen=True)
class Deadline:
    """A schedule whose max_tokens is what can be said in the time that is left to the conversation.

    The time runs from when the first turn was planned, pauses of the user included; how fast answers come is what
    schedule/measured saw of the turns before. When too little time is left, the turn fails and says so. A turn that is
    being answered is never cut off by the clock.
    """

    seconds: Annotated[float, above(0)]
    """How long the conversation may last."""
    tokens_per_second: Annotated[float | None, above(0)] = None
    """How fast answers come, as long as it is not measured; null: the first one may be as long as it likes."""
    least: Annotated[int, at_least(1)] = 1
    """An answer of fewer tokens is not worth its prompt."""

    def run(self, schedule: Schedule, context: Context, clock: Clock) -> Schedule:
        now = clock.now()
        last: Mapping[str, Any] = context.state.get(STATE, {}).get("last", {}).get(DEADLINE) or {}
        began = datetime.fromisoformat(last["began"]) if last else now
        seconds, tokens = last.get("seconds", 0.0), last.get("tokens", 0)
        speed = tokens / seconds if seconds > 0 and tokens > 0 else self.tokens_per_second
        room = self._room(self.seconds - (now - began).total_seconds(), speed)
        most = schedule.sampling.max_tokens if room is None else min(room, schedule.sampling.max_tokens)
        kept = {"began": began.isoformat(), "asked": now.isoformat(), "seconds": seconds, "tokens": tokens}
        return _keeping(schedule, most, kept)

    def foresee(self, schedule: Schedule, clock: object) -> Schedule:
        """All of it but how long the answer may be, which the clock says."""
        return _keeping(schedule, schedule.sampling.max_tokens, {})

    def _room(self, left: float, speed: float | None) -> int | None:
        """How many tokens there is time for, as far as that is known. Raises FlowError when it is too late."""
        over = f"the {self.seconds:g} seconds of this conversation are"
        advice = "Raise `seconds`, or begin another conversation."
        if left <= 0:
            raise FlowError(f"{over} over since {-left:.1f} seconds. {advice}")
        room = None if speed is None else int(left * speed)
        if room is not None and room < self.least:
            enough = f"enough for {room} tokens at {speed:.3g} a second, and {self.least} is the least"
            raise FlowError(f"{over} nearly over: {left:.1f} are left, {enough}. {advice}")
        return room


@stage("schedule/measured")
@dataclass(frozen=True)
class Measured:
    """A schedule with a deadline that has seen how long its answer took: what context/update is to remember."""

    def run(self, schedule: Schedule, reply: Completion, clock: Clock) -> Schedule:
        kept = schedule.keeps.get(DEADLINE)
        if not kept:
            raise FlowError("the schedule has no deadline. Give it the one that schedule/deadline makes.")
        if reply.usage.completion_tokens is None:
            return schedule
        took = (clock.now() - datetime.fromisoformat(kept["asked"])).total_seconds()
        seconds, tokens = kept["seconds"] + max(0.0, took), kept["tokens"] + reply.usage.completion_tokens
        return _keeping(schedule, schedule.sampling.max_tokens, {**kept, "seconds": seconds, "tokens": tokens})


def _keeping(schedule: Schedule, most: int, kept: Mapping[str, Any]) -> Schedule:
    sampling = dataclasses.replace(schedule.sampling, max_tokens=most)
    return dataclasses.replace(schedule, sampling=sampling, keeps=FrozenDict({**schedule.keeps, DEADLINE: kept}))
