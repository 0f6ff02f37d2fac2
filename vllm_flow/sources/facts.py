"""Facts: what a model cannot know by itself and every answer may need: the date, the place, who is asking.

The time comes from the clock, which is a resource, so a run that is told again is told its own date.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from vllm_flow.core.errors import shown
from vllm_flow.core.options import OptionProblem
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Clock
from vllm_flow.core.segments import Item, Place, Segment, Share
from vllm_flow.core.values import nothing

Language = Literal["en", "zh"]
DAYS = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "zh": ("星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期日"),
}
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
HEADINGS = {"en": "What is known:", "zh": "已知信息："}


@stage("source/facts")
@dataclass(frozen=True)
class Facts:
    """The date, the place and the user's profile, a line each."""

    date: bool = True
    time: bool = False
    """Of the day, to the minute, with its time zone."""
    zone: str | None = None
    """A name of the IANA database, such as Asia/Shanghai; null takes the clock's own."""
    location: str | None = None
    """Where the user is, such as Beijing."""
    profile: Mapping[str, str] = field(default_factory=nothing)
    """What else is known of the user, such as `{name: Ada, language: English}`."""
    language: Language = "en"
    """Of the lines."""
    heading: str | None = None
    """The line above them; null takes one in their language."""
    place: Place = "last"
    """last: before the question, since a date that stands before the history defeats the prefix cache each day."""
    share: Share = field(default_factory=Share)
    """Of the prompt's tokens."""

    def problems(self) -> Iterator[OptionProblem | str]:
        try:
            _ = self.zone and ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            what = f"{shown(self.zone)} is no time zone here. Write an IANA name such as Asia/Shanghai, or null."
            yield OptionProblem(("zone",), what)
        if not (self.date or self.time or self.location or self.profile):
            yield "there is no fact in it. Set date, time, location or profile, or leave the node out."

    def run(self, clock: Clock) -> Segment:
        lines = [*self._moment(clock), *self._user()]
        heading = HEADINGS[self.language] if self.heading is None else self.heading
        return Segment("facts", tuple(Item(line) for line in lines), heading, self.place, self.share)

    def _moment(self, clock: Clock) -> Iterator[str]:
        if not (self.date or self.time):
            return
        now = clock.now()
        now = now.astimezone(ZoneInfo(self.zone)) if self.zone else now
        if self.date:
            yield _day(now, self.language)
        if self.time:
            zone = self.zone or now.tzname()
            yield f"现在是{now:%H:%M}（{zone}）。" if self.language == "zh" else f"The time is {now:%H:%M} ({zone})."

    def _user(self) -> Iterator[str]:
        if self.location is not None:
            yield f"用户所在地：{self.location}。" if self.language == "zh" else f"The user is in {self.location}."
        for name, value in self.profile.items():
            yield f"用户的{name}：{value}。" if self.language == "zh" else f"The user's {name}: {value}."


def _day(now: datetime, language: Language) -> str:
    day = DAYS[language][now.weekday()]
    if language == "zh":
        return f"今天是{now.year}年{now.month}月{now.day}日，{day}。"
    return f"Today is {day}, {now.day} {MONTHS[now.month - 1]} {now.year}."
