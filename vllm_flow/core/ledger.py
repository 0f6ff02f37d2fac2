"""The ledger: what entered a prompt, at what cost, what did not, and why. It adds up to the prompt token for token.

A fuser says whose each part of a prompt is, and the engine that reads the prompt what each part takes of it: only that
engine's template and tokenizer know. What no part takes is the template's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vllm_flow.core.media import Medium
from vllm_flow.core.messages import Message, Told
from vllm_flow.core.segments import LeftOut

TEMPLATE = "template"
"""The segment of all that nobody wrote: control tokens, and whatever else a model's template puts in."""
TOOLS = "tools"
"""What the model may call, and, behind the question, its calls of this turn and what came of them."""
MEDIA = "media"
"""Pictures and sounds, whoever showed or played them, and the words that stand in their place."""
ORDER = (
    "system", TOOLS, "documents", "facts", "memory", "summary", "story", "history", "recalled", "retrieved",
    "candidates", MEDIA, "question",
)  # fmt: skip
"""The names that there are of our own; others stand behind them at their place, in the order in which they come."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a prompt takes, as its model reads it."""

    tokens: int
    """Of the whole prompt: as many as the engine's `count` says."""
    parts: tuple[tuple[int, ...], ...]
    """Of each part of each message, in their order. A token is that part's in which it begins."""
    tools: int = 0
    """Of what the prompt says of tools."""

    @property
    def template(self) -> int:
        return self.tokens - self.tools - sum(map(sum, self.parts))


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment, as it entered."""

    segment: str
    tokens: int | None = None
    """None where the engine has no tokenizer."""
    items: int = 1
    """Messages of the history, items of a segment."""
    sources: tuple[str, ...] = ()
    """Of its items, as far as they say."""
    scores: tuple[float, ...] = ()
    """How near each item is to what was asked, where it was looked up."""

    def row(self) -> Mapping[str, Any]:
        found: dict[str, Any] = {"segment": self.segment, "tokens": self.tokens}
        found |= {"items": self.items} if self.items != 1 else {}
        found |= {"sources": list(self.sources)} if self.sources else {}
        return found | ({"scores": list(self.scores)} if self.scores else {})


def segment_of(part: object, name: str) -> str:
    """Of a part in the segment of this name: what it shows or plays is one of its own, in words, too."""
    return MEDIA if isinstance(part, Medium | Told) else name


def media_entries(messages: Iterable[Message]) -> tuple[Entry, ...]:
    """One for all the media in these messages, if there are any; of those in words, with how they came to be words."""
    media = [part for message in messages for part in message.parts if isinstance(part, Medium | Told)]
    names = tuple(dict.fromkeys(medium.source for medium in media if medium.source))
    return (Entry(MEDIA, items=len(media), sources=names),) if media else ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """Of one prompt."""

    entries: tuple[Entry, ...]
    """In the order of the prompt, the template last."""
    left_out: tuple[LeftOut, ...] = ()
    budget: int | None = None
    """In tokens, that the prompt was to be within; None: as many as the engine takes."""
    whose: tuple[tuple[str, ...], ...] = ()
    """The segment of each part of each message of the prompt."""

    @property
    def tokens(self) -> int | None:
        """Of the prompt."""
        counts = [entry.tokens for entry in self.entries]
        return None if None in counts else sum(filter(None, counts))

    def measured(self, found: Measured) -> Ledger:
        """With the tokens. Messages behind those that the fuser made are of this turn's rounds with tools."""
        counts = Counter[str]({TOOLS: found.tools})
        later: list[tuple[str, ...]] = [(TOOLS,) * len(parts) for parts in found.parts[len(self.whose) :]]
        for names, parts in zip((*self.whose, *later), found.parts, strict=True):
            for name, tokens in zip(names, parts, strict=True):
                counts[name] += tokens
        known = {entry.segment for entry in self.entries}.difference((TOOLS,)) | {TEMPLATE}
        others = tuple(Entry(name) for name, tokens in counts.items() if name not in known and tokens)
        entries = (*(one for one in self.entries if one.segment not in (TEMPLATE, TOOLS)), *others)
        filled = (replace(entry, tokens=counts[entry.segment]) for entry in entries)
        of_template = (Entry(TEMPLATE, found.template),) if found.template else ()
        return replace(self, entries=(*filled, *of_template))

    def row(self) -> Mapping[str, Any]:
        """As a record has it: JSON values, without what is empty."""
        found: dict[str, Any] = {"tokens": self.tokens, "entries": [one.row() for one in self.entries]}
        found |= {"left_out": [one.row() for one in self.left_out]} if self.left_out else {}
        return found | ({} if self.budget is None else {"budget": self.budget})
