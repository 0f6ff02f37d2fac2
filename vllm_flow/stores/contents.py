"""Contents: of a store in memory, what its turns show, by digest, so that one who shows it again shows it to all.

A turn that came out of a record whose media are gone only names what it shows. As in a file, where content lies beside
the turns, it is known again as soon as anybody has shown it.
"""

from __future__ import annotations

from collections.abc import Iterable

from vllm_flow.core.media import Medium
from vllm_flow.core.media_of import media_of, with_content
from vllm_flow.core.values import Turn


class Contents:
    """For as long as a turn shows them."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}
        self._missing: set[str] = set()

    def take(self, turn: Turn) -> bool:
        """What the turn shows. Returns whether turns that were taken before lack any of it."""
        new = dict[str, bytes]()
        for digest, medium in media_of(turn).items():
            if digest in self._known:
                continue
            if medium.data is None:
                self._missing.add(digest)
            else:
                new[digest] = medium.data
        lacked = self._missing & new.keys()
        self._known |= new
        self._missing -= lacked
        return bool(lacked)

    def filled(self, turn: Turn) -> Turn:
        return with_content(turn, self._content)

    def leave(self, turns: Iterable[Turn], others: Iterable[Turn]) -> None:
        """Forget what these turns showed, and none of the others shows."""
        if gone := {digest for turn in turns for digest in media_of(turn)}:
            gone -= {digest for turn in others for digest in media_of(turn)}
        self._missing -= gone
        for digest in gone & self._known.keys():
            del self._known[digest]

    def _content(self, medium: Medium) -> bytes | None:
        return self._known.get(medium.digest)
