"""A clock that stands still: for tests, and for telling a run again as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from vllm_flow.core.errors import shown
from vllm_flow.core.options import OptionProblem
from vllm_flow.core.registry import resource


class FixedClock:
    """Always the same moment, which must say its time zone."""

    def __init__(self, moment: datetime) -> None:
        if moment.tzinfo is None:
            raise ValueError(f"{moment.isoformat()} has no time zone. Add one, such as +00:00.")
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


@resource("clock/fixed")
@dataclass(frozen=True)
class Fixed:
    """A clock that always says the same."""

    time: str
    """ISO 8601 with a time zone, such as 2026-11-24T09:30:00+08:00."""

    def problems(self) -> Iterator[OptionProblem]:
        try:
            self.open()
        except ValueError:
            what = f"{shown(self.time)} is no moment. Write it as 2026-11-24T09:30:00+08:00."
            yield OptionProblem(("time",), what)

    def open(self) -> FixedClock:
        return FixedClock(datetime.fromisoformat(self.time))
