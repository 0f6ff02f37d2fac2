"""A store that lives as long as the process: for batches, sweeps and tests, where nobody resumes a conversation.

It keeps conversations in the order they were written last (a dict remembers insertion), and each conversation's turns
by number. State is kept as JSON text, so that it behaves exactly as one that went through a file.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from itertools import count
from threading import RLock
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from vllm_flow.core.archive import Conversation, Found, Kept, KeptTurn
from vllm_flow.core.json_text import decode
from vllm_flow.core.messages import Message, assistant
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Completion, Turn
from vllm_flow.stores import rules
from vllm_flow.stores.contents import Contents
from vllm_flow.stores.rules import as_json, as_kept, check_same, is_answered, key_of
from vllm_flow.stores.talk import Talk
from vllm_flow.stores.words import Query

P = ParamSpec("P")
T = TypeVar("T")


@resource("store/memory")
@dataclass(frozen=True)
class Memory:
    """Keeps conversations in memory; they are gone when the process ends."""

    volatile: ClassVar[bool] = True
    """As of the store that it opens."""

    def open(self) -> MemoryStore:
        return MemoryStore()


def _one_at_a_time(method: Callable[Concatenate[MemoryStore, P], T]) -> Callable[Concatenate[MemoryStore, P], T]:
    @wraps(method)
    def locked(store: MemoryStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        with store._lock:
            return method(store, *args, **kwargs)

    return locked


class MemoryStore:
    """Archive in plain dicts. Begin and commit take some microseconds, however long the conversation is."""

    volatile = True
    """It ends with the process, so a run's record keeps what is needed to go on."""

    def __init__(self) -> None:
        self._conversations: dict[str, Talk] = {}
        self._contents = Contents()
        self._serials = count()
        self._lock = RLock()

    @_one_at_a_time
    def next_number(self, conversation: str) -> int:
        known = self._conversations.get(conversation)
        return known.numbers[-1] + 1 if known and known.numbers else 1

    @_one_at_a_time
    def turns(self, conversation: str) -> tuple[StoredTurn, ...]:
        known = self._conversations.get(conversation)
        return tuple(known.turns[number] for number in known.numbers) if known else ()

    @_one_at_a_time
    def state(self, conversation: str) -> Mapping[str, Any]:
        known = self._conversations.get(conversation, Talk())
        latest = next((number for number in reversed(known.numbers) if number in known.states), None)
        return {} if latest is None else dict(decode(known.states[latest]))

    @_one_at_a_time
    def begin(self, turn: Turn) -> StoredTurn:
        name, number = key_of(turn)
        known = self._conversations.setdefault(name, Talk())
        if (stored := known.turns.get(number)) is not None:
            check_same(turn, stored.turn)
            return stored
        if not known.numbers and not rules.is_titled(known.title, (gone for _, gone in known.taken_back)):
            known.title = rules.opening(turn.message)
        stored = StoredTurn(self._kept(turn), None)
        known.put(next(self._serials), stored, None)
        self._written(name, known)
        return stored

    @_one_at_a_time
    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        name, number = key_of(turn)
        known = self._conversations.get(name)
        if known is None or number not in known.turns:
            raise rules.not_begun(turn)
        stored = known.turns[number]
        check_same(turn, stored.turn)
        text = as_json(turn, state)
        if is_answered(stored.reply):
            if stored.reply != reply or known.states.get(number) != text:
                raise rules.answered_otherwise(turn)
            return
        known.turns[number] = StoredTurn(self._kept(turn), reply)
        known.states[number] = text
        self._written(name, known)

    @_one_at_a_time
    def interrupt(self, turn: Turn, partial: Completion) -> None:
        name, number = key_of(turn)
        known = self._conversations.get(name)
        if known is None or number not in known.turns or is_answered(known.turns[number].reply):
            return
        check_same(turn, known.turns[number].turn)
        known.turns[number] = StoredTurn(self._kept(turn), dataclasses.replace(partial, finish_reason="interrupted"))
        known.states.pop(number, None)
        self._written(name, known)

    @_one_at_a_time
    def undo(self, conversation: str) -> Message | None:
        known = self._conversations.get(conversation)
        if known is None or not known.numbers:
            return None
        number = known.numbers.pop()
        known.states.pop(number, None)
        stored = known.turns.pop(number)
        known.taken_back.append((known.begun.pop(number), stored))
        self._written(conversation, known)
        return stored.turn.message

    @_one_at_a_time
    def last_conversation(self) -> str | None:
        return next((name for name, known in reversed(self._conversations.items()) if known.numbers), None)

    @_one_at_a_time
    def conversations(self) -> tuple[Conversation, ...]:
        return tuple(
            Conversation(name, known.title, len(known.numbers), rules.moment(known.written_ms))
            for name, known in reversed(self._conversations.items())
        )

    @_one_at_a_time
    def set_title(self, conversation: str, title: str) -> None:
        self._known(conversation).title = rules.as_title(conversation, title)

    @_one_at_a_time
    def search(self, text: str, limit: int = 20) -> tuple[Found, ...]:
        query, found = Query.of(text), list[tuple[int, Found]]()
        for name, known in self._conversations.items():
            for number, stored in known.turns.items():
                replies = () if stored.reply is None else (assistant(stored.reply.text),)
                for place, message in enumerate((stored.turn.message, *replies)):
                    if query.matches(message.text):
                        found.append((2 * known.begun[number] + place, Found(name, number, message)))
        found.sort(key=lambda one: -one[0])
        return tuple(one for _, one in found[:limit])

    @_one_at_a_time
    def fork(self, conversation: str, to: str, number: int | None = None) -> None:
        rules.check_name(to)
        known = self._known(conversation)
        rules.check_fork(self.turns(conversation), conversation, number)
        if to in self._conversations:
            raise rules.taken(to)
        fresh = Talk(known.title)
        for one in known.numbers if number is None else known.numbers[: known.numbers.index(number) + 1]:
            stored = known.turns[one]
            copied = StoredTurn(dataclasses.replace(stored.turn, conversation=to), stored.reply)
            fresh.put(next(self._serials), copied, known.states.get(one))
        self._written(to, fresh)

    @_one_at_a_time
    def taken_back(self, conversation: str) -> tuple[StoredTurn, ...]:
        return tuple(stored for _, stored in sorted(self._known(conversation).taken_back, key=lambda one: one[0]))

    @_one_at_a_time
    def dump(self, conversation: str) -> Kept:
        known = self._known(conversation)
        states = {number: decode(text) for number, text in known.states.items()}
        turns = (KeptTurn(known.turns[one].turn, known.turns[one].reply, states.get(one)) for one in known.numbers)
        return Kept(conversation, known.title, rules.moment(known.written_ms), tuple(turns))

    @_one_at_a_time
    def load(self, kept: Kept) -> bool:
        kept = rules.as_loaded(kept)
        if kept.name in self._conversations:
            if self.dump(kept.name).turns == kept.turns:
                return False
            raise rules.taken(kept.name)
        fresh = Talk(kept.title)
        for one in kept.turns:
            state = None if one.state is None else as_json(one.turn, one.state)
            fresh.put(next(self._serials), StoredTurn(self._kept(one.turn), one.reply), state)
        self._written(kept.name, fresh)
        fresh.written_ms = rules.milliseconds(kept.written)
        return True

    @_one_at_a_time
    def delete(self, conversation: str, before: datetime | None = None) -> bool:
        known = self._conversations.get(conversation)
        if known is None or (before is not None and known.written_ms >= rules.milliseconds(before)):
            return False
        del self._conversations[conversation]
        self._contents.leave(known.all(), (turn for one in self._conversations.values() for turn in one.all()))
        return True

    def close(self) -> None:
        self._conversations.clear()
        self._contents = Contents()

    def _known(self, conversation: str) -> Talk:
        if (known := self._conversations.get(conversation)) is None:
            raise rules.unknown(conversation)
        return known

    def _kept(self, turn: Turn) -> Turn:
        """As it is kept. What it shows, all turns have from now on that show the same."""
        turn = as_kept(turn)
        if self._contents.take(turn):
            for known in self._conversations.values():
                known.fill(self._contents)
        return self._contents.filled(turn)

    def _written(self, name: str, known: Talk) -> None:
        self._conversations.pop(name, None)
        self._conversations[name] = known
        known.written_ms = time.time_ns() // 1_000_000
