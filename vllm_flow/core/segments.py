"""Segments: the named shares of a prompt, as sources and policies hand them to the fuser that allots the tokens.

Who knows what could be said does not know how much room there is, and who knows the room does not know what matters:
a segment carries what is to be said together with what may become of it, and the fuser decides for all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from vllm_flow.core.options import at_least

Overflow = Literal["error", "oldest", "last", "all", "cut"]
"""What becomes of a segment that has no room: the turn fails; its oldest items go; its last ones; all go; the last
item that fits in part is cut, and says so."""
Place = Literal["first", "last"]
"""first: before the history, in the system message, where a prefix cache finds it again. last: in the user's message,
before the question, where it may be another in each turn."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many tokens of a prompt a segment may have, and what gives way when there are fewer."""

    most: Annotated[int | None, at_least(0)] = None
    """In tokens: what is above gives way, whatever room there is."""
    least: Annotated[int, at_least(0)] = 0
    """In tokens: so much stays, if it has as many, while any other segment can give way."""
    priority: int = 0
    """Segments of the lowest give way first; of equal ones, what stands later in the prompt."""
    overflow: Overflow = "error"
    step: Annotated[int, at_least(1)] = 1
    """So many of the oldest items go at once: turns, of a history. Between two steps a prompt begins as the one before
    it did, and a prefix cache knows it."""
    first: Annotated[int, at_least(0)] = 0
    """So many of the first items never go: turns, of a history."""


HISTORY = Share(priority=-10)
"""Of earlier messages: they give way before what was looked up for this turn, if they may."""


@dataclass(frozen=True, slots=True)
class Item:
    """One passage, fact or line of a segment: it stays whole, unless the share says `cut`."""

    text: str
    source: str = ""
    """Where it is from, such as `faq.md:12` or `turn 3`; empty where that says nothing."""
    score: float | None = None
    """How near it is to what was asked, by whatever found it; higher is nearer."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What did not enter a prompt."""

    segment: str
    what: str
    """In the plural, such as `messages` or `passages`."""
    count: int
    why: str
    """Such as `older than the newest 8 turns`."""
    tokens: int | None = None
    """None where nobody counted them."""

    def row(self) -> Mapping[str, Any]:
        found = {"segment": self.segment, "what": self.what, "count": self.count, "why": self.why}
        return found | ({} if self.tokens is None else {"tokens": self.tokens})


@dataclass(frozen=True, slots=True)
class Segment:
    """What a source or a policy would have said in the prompt."""

    name: str
    """facts, memory, documents, retrieved, summary, story: by this name the ledger has it, and a fuser's `shares`.

    Two of one name, of a source and of a policy, are both said, and are one entry.
    """
    items: tuple[Item, ...] = ()
    heading: str = ""
    """A line above the items, such as `What is known:`; left out with the last of them."""
    place: Place = "last"
    """A source has an option of this name. One that puts first what changes from turn to turn is warned of: when it
    asks a clock, and when its attribute or option `changes` is true."""
    share: Share = Share()
    left_out: tuple[LeftOut, ...] = ()
    """What the source or policy itself has left out already."""
    data: bool = True
    """Whether it is data, from a person, file or net, that no model should take for an instruction."""


def facts_of(known: Mapping[str, str], name: str = "facts", heading: str = "What is known:") -> Segment:
    """What is known by name: an item for each, `name: value`."""
    return Segment(name, tuple(Item(f"{key}: {value}") for key, value in known.items()), heading)
