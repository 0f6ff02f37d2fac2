"""What a stage hears from outside: the time, and whatever else no request determines. Recorded, to be told again.

A clock is handed out bound to node and turn as engines are. Told again, a stage hears what it heard then, in that
order; when it asks more often than it did, the rest comes from the live clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from vllm_flow.core.resources import Clock
from vllm_flow.core.values import Turn

Recall = Callable[[Turn, str, str, str, int], Any]
"""(turn, node, resource, method, how often asked before) → what was answered then, as JSON; None when nothing was."""
NOW = "now"


@dataclass(frozen=True, slots=True)
class Timed:
    """Marks an open clock among the given values, so that each node gets its own binding of it."""

    clock: Clock
    resource: str


class BoundClock:
    """A clock as one node sees it, for one turn. What it said is in `said`, for the walk to publish."""

    def __init__(self, timed: Timed, turn: Turn, node: str, recall: Recall | None) -> None:
        self.resource = timed.resource
        self.said: list[datetime] = []
        self._clock = timed.clock
        self._recall = recall
        self._asked = (turn, node, timed.resource, NOW)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)  # a clock of somebody's own may do more

    def now(self) -> datetime:
        then = self._recall(*self._asked, len(self.said)) if self._recall else None
        moment = self._clock.now() if then is None else moment_from_json(then)
        self.said.append(moment)
        return moment


def moment_to_json(moment: datetime) -> dict[str, Any]:
    """`{time}` with the offset from UTC, and the `zone` of the IANA database or the `name` of the offset."""
    key = getattr(moment.tzinfo, "key", None)
    return {"time": moment.isoformat(), **({"zone": key} if key else {"name": moment.tzname()})}


def moment_from_json(data: Mapping[str, Any]) -> datetime:
    """An equal moment, of the same zone. Raises ValueError, KeyError and TypeError for what is none."""
    moment = datetime.fromisoformat(data["time"])
    if zone := data.get("zone"):
        return moment.astimezone(ZoneInfo(zone))
    offset, name = moment.utcoffset() or timedelta(), data.get("name")
    return moment.replace(tzinfo=timezone(offset, name) if name else timezone(offset))
