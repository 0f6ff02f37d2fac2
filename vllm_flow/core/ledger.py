"""The ledger: what entered a prompt, at what cost, what did not, and why. It adds up to the prompt token for token."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.segments import LeftOut

TEMPLATE = "template"
"""The segment of all that nobody wrote: control tokens, and whatever else a model's template puts in."""
ORDER = ("system", "tools", "documents", "facts", "summary", "story", "history", "retrieved", "media", "question")
"""The names that there are of our own; others stand where their place says."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment, as it entered."""

    segment: str
    tokens: int
    items: int = 1
    """Messages of the history, items of a segment."""
    sources: tuple[str, ...] = ()
    """Of its items, as far as they say."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Of one prompt."""

    entries: tuple[Entry, ...]
    """In the order of the prompt, the template last."""
    left_out: tuple[LeftOut, ...] = ()
    budget: int | None = None
    """In tokens, that the prompt was to be within; None: as many as the engine takes."""

    @property
    def tokens(self) -> int:
        """Of the prompt."""
        return sum(entry.tokens for entry in self.entries)

    def row(self) -> Mapping[str, Any]:
        """As a record has it: JSON values, without what is empty."""
        from vllm_flow.core.codec import to_json  # which knows prompts, and they know ledgers

        found: dict[str, Any] = {"tokens": self.tokens, "entries": [to_json(one) for one in self.entries]}
        found |= {"left_out": [to_json(one) for one in self.left_out]} if self.left_out else {}
        return found | ({} if self.budget is None else {"budget": self.budget})
