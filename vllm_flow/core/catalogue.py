"""A catalogue: what can be recommended, each by its id, with the names by which people mean it.

People name things by their titles and programs by their ids, so a name is looked up as an id first and then as a title,
whatever its case. A title that two of them share names neither: a guess would be a like that nobody said.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from vllm_flow.core.errors import listed, nearest

CLOSE = 2_000
"""Among so many titles the nearest is looked for, those first that share a word with the name."""
SHOWN = 8
"""So many ids of one title are told."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing of a catalogue."""

    id: str
    title: str
    text: str
    """What is searched, and what a model reads of it."""
    popularity: float | None = None
    """How much it is liked by all; higher is more. None where nobody counted."""
    columns: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """All that its row says, JSON values."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Equal ones have equal offers. Nothing of it is in a prompt until it has been looked up."""

    digest: str
    """Of ids, titles, texts and popularity, in hex: what a record keeps of them."""
    offers: tuple[Offer, ...] = field(default=(), compare=False, repr=False)
    """In the order of the file."""
    _places: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    """By id, which offer of the tuple it is."""
    _titled: Mapping[str, Sequence[int]] = field(default_factory=dict, compare=False, repr=False)
    """The same by title, as `same` has it."""

    @classmethod
    def of(cls, offers: Iterable[Offer]) -> Self:
        """Their ids are all different."""
        kept, digest = tuple(offers), hashlib.sha256()
        titled: dict[str, list[int]] = {}
        for place, one in enumerate(kept):
            for text in (one.id, one.title, one.text, repr(one.popularity)):
                content = text.encode("utf-8", "backslashreplace")
                digest.update(len(content).to_bytes(8) + content)
            titled.setdefault(same(one.title), []).append(place)
        return cls(digest.hexdigest(), kept, {one.id: place for place, one in enumerate(kept)}, titled)

    def place(self, name: str) -> int:
        """Which offer is meant by an id or a title. Raises LookupError, with what to write instead."""
        if (place := self._places.get(name)) is not None:
            return place
        found = self._titled.get(same(name), ())
        if len(found) > 1:
            ids = listed(self.offers[one].id for one in found[:SHOWN]) + ", …" * (len(found) > SHOWN)
            raise LookupError(f"{len(found)} have the title '{name}'. Name one by its id: {ids}.")
        if not found:
            raise LookupError(f"there is no '{name}' in the catalogue.{nearest(name, self._like(name))}")
        return found[0]

    def _like(self, name: str) -> list[str]:
        """Ids and titles that may be meant: to compare with all of 100,000 takes seconds."""
        words, first = set(same(name).split()), same(name)[:1]
        near = {one.title: None for one in self.offers if words & set(same(one.title).split())}
        if len(near) < CLOSE:
            near |= {one.title: None for one in self.offers if same(one.title)[:1] == first}
        ids = [one.id for one in self.offers if one.id[:2] == name[:2] and abs(len(one.id) - len(name)) < 3]
        return [*list(near)[:CLOSE], *ids[:CLOSE]]


def same(title: str) -> str:
    """What is equal for titles that mean the same."""
    return " ".join(title.casefold().split())
