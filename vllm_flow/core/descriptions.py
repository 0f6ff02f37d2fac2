"""Descriptions: media in words, by their digests, and the messages in which the words stand in the place of the media.

What was seen, read or heard is data: it is fenced as other data is, with the name that the medium was given and a mark
that says how it came to be words, so that a model can tell it from what the user wrote.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vllm_flow.core.fencing import fence_of
from vllm_flow.core.media import MediaKind, Medium
from vllm_flow.core.messages import Message, Part, Told
from vllm_flow.core.segments import LeftOut

NOUNS: Mapping[str, str] = {"image": "picture", "audio": "recording"}
"""What people call them, and the fences."""
NOTHING: Mapping[str, str] = {"seen": "nothing for certain", "read": "no text", "transcript": "no speech"}
"""By mark, what is told where there was nothing to be said."""
FAILED = "[this failed]"
"""What is told where one describer of several could say nothing."""


@dataclass(frozen=True, slots=True)
class Descriptions:
    """What one describer says of the media of a conversation."""

    mark: str
    """How it came to be words: seen, read, transcript."""
    texts: Mapping[str, str] = field(hash=False)
    """By digest. Empty where there is nothing to be said."""
    problems: Mapping[str, str] = field(default_factory=dict, hash=False)
    """By digest, why a medium could not be described: a clause without a full stop."""
    by: str = field(default="", compare=False)
    """What the describer is called."""


@dataclass(frozen=True, slots=True)
class Described:
    """Of every medium of a conversation that the model does not read itself: the lines that stand in its place."""

    lines: Mapping[str, tuple[str, ...]] = field(hash=False)
    """By digest."""
    left_out: tuple[LeftOut, ...] = ()
    """Media that nobody could describe: the model is told that they were there."""
    by: Mapping[str, str] = field(default_factory=dict, hash=False, compare=False)
    """By mark, what the describer is called."""

    def told(self, messages: Iterable[Message]) -> tuple[Message, ...]:
        """The messages with words in the place of media, each on lines of its own. Media that are not here stay."""
        return tuple(replace(one, parts=(*self._parts(one.parts),)) if one.media else one for one in messages)

    def words(self, messages: Iterable[Message]) -> tuple[str, ...]:
        """What is said of each medium in them, without fences; nothing of one that is not here."""
        found = (self.lines[one.digest] for one in each_medium(messages) if one.digest in self.lines)
        return tuple("\n".join(lines) for lines in found)

    def describers(self, digest: str) -> tuple[str, ...]:
        """Who described this medium, and how: `read: by rapidocr`. Empty for one that nobody did."""
        marks = (_mark(line) for line in self.lines.get(digest, ()) if not line.endswith(FAILED))
        return tuple(f"{mark}: by {self.by[mark]}" if self.by.get(mark) else mark for mark in marks if mark)

    def _parts(self, parts: Sequence[Part]) -> Iterator[Part]:
        before = ""
        for place, part in enumerate(parts):
            if not isinstance(part, Medium) or part.digest not in self.lines:
                yield part
                before = part.text
                continue
            ends = place + 1 == len(parts) or parts[place + 1].text.startswith("\n")
            lines = self.lines[part.digest]
            fence, text = fenced(part, lines)
            first, last = "" if not before or before.endswith("\n") else "\n", "" if ends else "\n"
            yield Told(f"{first}{text}{last}", f"{named(part)} ({_way(lines)})", fence)
            before = last or text


def fenced(medium: Medium, lines: Sequence[str]) -> tuple[str, str]:
    """A fence that the lines do not spell themselves, and they in it, below the name that the medium was given."""
    named = [f"[{' '.join(medium.source.split())}]"] if medium.source else []
    said = [*named, *lines]
    fence = fence_of(NOUNS[medium.kind], said)
    return fence, "\n".join((f"<{fence}>", *said, f"</{fence}>"))


def named(medium: Medium) -> str:
    """In one line."""
    return " ".join(medium.source.split()) or f"a {NOUNS[medium.kind]} without a name"


def _way(lines: Sequence[str]) -> str:
    """How it came to be words, for the ledger."""
    return ", ".join(filter(None, map(_mark, lines))) or "not described"


def _mark(line: str) -> str:
    """Empty where the line says that there is nothing to be told."""
    return "" if line.startswith("[") else line.partition(":")[0]


def each_medium(messages: Iterable[Message], kind: MediaKind | None = None) -> tuple[Medium, ...]:
    """Each once, in the order in which they came."""
    found = {one.digest: one for message in messages for one in message.media if kind in (None, one.kind)}
    return tuple(found.values())
