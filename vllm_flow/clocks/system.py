"""The computer's own clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from vllm_flow.core.errors import shown
from vllm_flow.core.options import OptionProblem
from vllm_flow.core.registry import resource


class SystemClock:
    """Now, in a time zone; the computer's own when it is None."""

    def __init__(self, zone: ZoneInfo | None = None) -> None:
        self.zone = zone

    def now(self) -> datetime:
        return datetime.now(self.zone).astimezone(self.zone)


@resource("clock/system")
@dataclass(frozen=True)
class System:
    """The computer's clock."""

    zone: str | None = None
    """A name of the IANA database, such as Asia/Shanghai; null takes the computer's own zone."""

    def problems(self) -> Iterator[OptionProblem]:
        try:
            self._zone()
        except (ZoneInfoNotFoundError, ValueError, OSError):
            what = f"{shown(self.zone)} is no time zone here. Write an IANA name such as Asia/Shanghai, or null."
            yield OptionProblem(("zone",), what)

    def open(self) -> SystemClock:
        return SystemClock(self._zone())

    def _zone(self) -> ZoneInfo | None:
        return None if self.zone is None else ZoneInfo(self.zone)
