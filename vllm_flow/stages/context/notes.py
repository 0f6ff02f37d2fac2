"""Notes: what is known by name, the newest last. Bounded, because what is remembered is paid for in every prompt."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vllm_flow.core.segments import Item, LeftOut

LINE = re.compile(r"(?:[-*•]\s*)?([^:：]{1,60})[:：]\s*(\S.*)")
NOTHING = re.compile(r"(none|nothing)\W*", re.IGNORECASE)
"""What a model writes that has found none."""
EDGES = " \t.,;!?\"'`*“”‘’。，！？"
Row = Mapping[str, Any]
Doubt = Callable[[str, str], str | None]
"""(key, value) → why they are not to be believed; None: they are."""


@dataclass(frozen=True, slots=True)
class Note:
    key: str
    value: str | None
    """None for what is to be forgotten, or an older turn that is read later would bring it back."""
    turn: int
    """The number of the turn that told it."""
    told: bool = False
    """Whether the user said it is to be remembered; what a model has read in the same turn counts less."""

    @property
    def age(self) -> tuple[int, bool]:
        """The newest is the greatest."""
        return self.turn, self.told


@dataclass(slots=True)
class Notes:
    """Of a conversation. Of two notes of one name, in whatever case, the newer stays."""

    most: int
    longest: int
    """In characters, name and value together."""
    known: dict[str, Note] = field(default_factory=dict)
    """By the name as `same` has it, in the order in which they were written."""
    refused: Counter[str] = field(default_factory=Counter)
    """Why something was not taken or is no longer known, with how often."""

    @classmethod
    def of(cls, rows: Iterable[Row], most: int, longest: int) -> Notes:
        """From what `rows` made."""
        notes = cls(most, longest)
        for row in rows:
            notes.known[same(row["key"])] = Note(**row)
        return notes

    def rows(self) -> list[dict[str, Any]]:
        """JSON values."""
        return [dataclasses.asdict(one) for one in self.known.values()]

    def write(self, key: str, value: str | None, turn: int, told: bool = False) -> None:
        """None for a value that is to be forgotten."""
        note = Note(" ".join(key.split()), None if value is None else " ".join(value.split()), turn, told)
        if len(note.key) + len(note.value or "") > self.longest:
            self.refused[f"longer than {self.longest} characters"] += 1
        elif (known := self.known.get(same(key))) is None or note.age >= known.age:
            self.known[same(key)] = note
            self.known = dict(sorted(self.known.items(), key=lambda one: one[1].age))
        while len(self.known) > self.most:
            del self.known[next(iter(self.known))]
            self.refused[f"more than {self.most}: the oldest are forgotten"] += 1

    def read(self, text: str, turn: int, doubt: Doubt) -> None:
        """Take the lines `key: value` of what a model wrote."""
        for line in filter(None, map(str.strip, text.splitlines())):
            if found := LINE.fullmatch(line):
                self.take(found[1], found[2], turn, doubt)
            elif not NOTHING.fullmatch(line):
                self.refused["not written as `key: value`"] += 1

    def take(self, key: str, value: str, turn: int, doubt: Doubt) -> None:
        """What a model wrote, unless there is a doubt, or it says that there is nothing."""
        key, value = key.strip(EDGES), value.strip(EDGES)
        if not key or not value or NOTHING.fullmatch(value):
            return
        if why := doubt(key, value):
            self.refused[why] += 1
        else:
            self.write(key, value, turn)

    def items(self) -> tuple[Item, ...]:
        known = (one for one in self.known.values() if one.value is not None)
        return tuple(Item(f"{one.key}: {one.value}") for one in known)

    def left_out(self, segment: str, what: str = "facts") -> Iterator[LeftOut]:
        yield from (LeftOut(segment, what, count, why) for why, count in self.refused.items())


def same(key: str) -> str:
    """What is equal for names that mean the same."""
    return " ".join(key.casefold().split())


def says(text: str, phrase: str) -> bool:
    """Whether the text has the phrase, word for word; case and spaces do not count."""
    wanted = same(phrase)
    before, after = ("\\b" if one.isascii() and one.isalnum() else "" for one in (wanted[:1], wanted[-1:]))
    return bool(wanted) and re.search(f"{before}{re.escape(wanted)}{after}", same(text)) is not None
