"""A talk: one conversation of a store in memory."""

from __future__ import annotations

import dataclasses
from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Turn
from vllm_flow.stores.contents import Contents


@dataclass(slots=True)
class Talk:
    """Turns by number, what was taken back, and the state after each answer."""

    title: str = ""
    written_ms: int = 0
    numbers: list[int] = field(default_factory=list)
    """Ascending."""
    turns: dict[int, StoredTurn] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    """JSON left by each answered turn."""
    begun: dict[int, int] = field(default_factory=dict)
    """When each turn was begun, in the order of all turns of the store."""
    taken_back: list[tuple[int, StoredTurn]] = field(default_factory=list)
    """When each was begun, and the turn."""

    def put(self, serial: int, stored: StoredTurn, state: str | None) -> None:
        number = stored.turn.number or 0
        self.turns[number], self.begun[number] = stored, serial
        if state is not None:
            self.states[number] = state
        insort(self.numbers, number)

    def all(self) -> Iterator[Turn]:
        """Those that were taken back among them."""
        yield from (stored.turn for stored in self.turns.values())
        yield from (stored.turn for _, stored in self.taken_back)

    def fill(self, contents: Contents) -> None:
        """Give the turns what they show."""
        for number, stored in self.turns.items():
            self.turns[number] = dataclasses.replace(stored, turn=contents.filled(stored.turn))
        self.taken_back = [
            (serial, dataclasses.replace(stored, turn=contents.filled(stored.turn)))
            for serial, stored in self.taken_back
        ]
