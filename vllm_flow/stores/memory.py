"""A store that lives as long as the process: for batches, sweeps and tests, where nobody resumes a conversation.

It keeps conversations in the order they were written last (a dict remembers insertion), and each conversation's turns
by number. State is kept as JSON text, so that it behaves exactly as one that went through a file.
"""

from __future__ import annotations

import dataclasses
from bisect import insort
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from vllm_flow.core.codec import decode
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Completion, Message, Turn
from vllm_flow.stores.rules import answered_otherwise, as_json, as_kept, check_same, is_answered, key_of, not_begun


@resource("store/memory")
@dataclass(frozen=True)
class Memory:
    """Keeps conversations in memory; they are gone when the process ends."""

    volatile: ClassVar[bool] = True
    """As of the store that it opens."""

    def open(self) -> MemoryStore:
        return MemoryStore()


@dataclass(slots=True)
class _Conversation:
    numbers: list[int] = field(default_factory=list)
    """Ascending."""
    turns: dict[int, StoredTurn] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    """JSON left by each answered turn."""


class MemoryStore:
    """Store in plain dicts. Begin and commit take some microseconds, however long the conversation is."""

    volatile = True
    """It ends with the process, so a run's record keeps what is needed to go on."""

    def __init__(self) -> None:
        self._conversations: dict[str, _Conversation] = {}

    def next_number(self, conversation: str) -> int:
        known = self._conversations.get(conversation)
        return known.numbers[-1] + 1 if known else 1

    def turns(self, conversation: str) -> tuple[StoredTurn, ...]:
        known = self._conversations.get(conversation)
        return tuple(known.turns[number] for number in known.numbers) if known else ()

    def state(self, conversation: str) -> Mapping[str, Any]:
        known = self._conversations.get(conversation, _Conversation())
        latest = next((number for number in reversed(known.numbers) if number in known.states), None)
        return {} if latest is None else dict(decode(known.states[latest]))

    def begin(self, turn: Turn) -> StoredTurn:
        name, number = key_of(turn)
        known = self._conversations.setdefault(name, _Conversation())
        if (stored := known.turns.get(number)) is not None:
            check_same(turn, stored.turn)
            return stored
        stored = known.turns[number] = StoredTurn(as_kept(turn), None)
        insort(known.numbers, number)
        self._written(name, known)
        return stored

    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        name, number = key_of(turn)
        known = self._conversations.get(name)
        if known is None or number not in known.turns:
            raise not_begun(turn)
        stored = known.turns[number]
        check_same(turn, stored.turn)
        text = as_json(turn, state)
        if is_answered(stored.reply):
            if stored.reply != reply or known.states.get(number) != text:
                raise answered_otherwise(turn)
            return
        known.turns[number] = StoredTurn(as_kept(turn), reply)
        known.states[number] = text
        self._written(name, known)

    def interrupt(self, turn: Turn, partial: Completion) -> None:
        name, number = key_of(turn)
        known = self._conversations.get(name)
        if known is None or number not in known.turns or is_answered(known.turns[number].reply):
            return
        check_same(turn, known.turns[number].turn)
        known.turns[number] = StoredTurn(as_kept(turn), dataclasses.replace(partial, finish_reason="interrupted"))
        known.states.pop(number, None)
        self._written(name, known)

    def undo(self, conversation: str) -> Message | None:
        known = self._conversations.get(conversation)
        if known is None:
            return None
        number = known.numbers.pop()
        known.states.pop(number, None)
        message = known.turns.pop(number).turn.message
        if known.numbers:
            self._written(conversation, known)
        else:
            del self._conversations[conversation]
        return message

    def last_conversation(self) -> str | None:
        return next(reversed(self._conversations), None)

    def close(self) -> None:
        self._conversations.clear()

    def _written(self, name: str, known: _Conversation) -> None:
        self._conversations.pop(name, None)
        self._conversations[name] = known
