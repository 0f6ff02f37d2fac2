"""Weather: which place and day a question is about, what the forecast says, and where in the prompt it stands.

Place and day are looked for in the question and then in earlier ones, the newest first, so that "And in Shanghai?" is
about Shanghai and about the day that was asked about before.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

from vllm_flow import Clock, Context, Message, Prompt, Text, Turn, stage, system
from vllm_flow.core.options import OptionProblem
from vllm_flow.core.segments import Item, Segment

PROJECT = Path(__file__).parent.parent
T = TypeVar("T")
DAYS = {"today": 0, "tomorrow": 1, "day after tomorrow": 2, "今天": 0, "明天": 1, "后天": 2}


@stage("weather/forecast")
@dataclass(frozen=True)
class Forecast:
    """The context, with the forecast for the place and the day that were asked about among its facts."""

    file: str
    """A CSV file of the project: place, its name in Chinese, date, sky, lowest and highest temperature in °C."""

    def problems(self) -> Iterator[OptionProblem]:
        try:
            self.rows()
        except (OSError, ValueError) as error:
            yield OptionProblem(("file",), f"the forecast cannot be read: {error}. Name a CSV file of this project.")

    def rows(self) -> list[dict[str, str]]:
        with (PROJECT / self.file).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def run(self, turn: Turn, context: Context, clock: Clock) -> Context:
        asked = (turn.text, *(one.text for one in reversed(context.messages) if one.role == "user"))
        rows, today = self.rows(), clock.now().date()
        place = newest(asked, {row[name]: row["place"] for row in rows for name in ("place", "also")})
        day = today + timedelta(days=newest(asked, DAYS) or 0)
        return replace(context, segments=(*context.segments, Segment("facts", (Item(_forecast(rows, place, day)),))))


def _forecast(rows: Iterable[Mapping[str, str]], place: str | None, day: date) -> str:
    if place is None:
        return "No place was named."
    for row in rows:
        if (row["place"], row["date"]) == (place, str(day)):
            degrees = f"between {row['low_c']} and {row['high_c']} degrees"
            return f"The weather in {place} on {day} will be {row['sky']}, {degrees}."
    return f"There is no forecast for {place} on {day}."


@stage("fuse/facts")
@dataclass(frozen=True)
class Facts:
    """A system message, the earlier messages, then the facts and the question in one message.

    The facts change with every turn, so they stand behind all that an engine may have read before.
    """

    system: str | None = None
    """Stands before everything else; null adds none."""

    def run(self, turn: Turn, context: Context) -> Prompt:
        first = (system(self.system),) if self.system else ()
        said = " ".join(item.text for one in context.segments for item in one.items)
        facts = Text(f"({said})\n")
        return Prompt((*first, *context.messages, Message("user", (facts, *turn.message.parts))))

    def advise(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Nothing: what the clock changes stands behind the history, so that what was read before can be used again."""
        yield from ()


def newest(texts: Iterable[str], words: Mapping[str, T]) -> T | None:
    """What the word stands for that the first of the texts has in it; the longest word, when there are several."""
    for text in texts:
        found = [word for word in words if word.casefold() in text.casefold()]
        if found:
            return words[max(found, key=len)]
    return None
