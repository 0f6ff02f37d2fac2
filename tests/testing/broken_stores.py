"""Stores of which each breaks a promise."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from vllm_flow.core.errors import StoreError, TurnConflict
from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Completion, Message, Text, Turn
from vllm_flow.stores.memory import MemoryStore


class Kept(MemoryStore):
    """Every opening gives the one store there is."""

    _one: Kept | None = None

    def __new__(cls) -> Kept:
        cls._one = cls._one or super().__new__(cls)
        return cls._one

    def __init__(self) -> None:
        if not hasattr(self, "_conversations"):
            super().__init__()

    def close(self) -> None:
        pass


class Halved:
    """Lacks two methods."""

    def __getattr__(self, name: str) -> Any:
        if name in ("undo", "last_conversation"):
            raise AttributeError(name)
        return getattr(MemoryStore(), name)


class CountsFromZero(MemoryStore):
    def next_number(self, conversation: str) -> int:
        return super().next_number(conversation) - 1


class LosesSurrogates(MemoryStore):
    def begin(self, turn: Turn) -> StoredTurn:
        parts = tuple(Text(part.text.encode("utf-8", "replace").decode()) for part in turn.message.parts)
        return super().begin(replace(turn, message=Message(turn.message.role, parts)))


class CountsAllConversations(MemoryStore):
    def next_number(self, conversation: str) -> int:
        return 1 + sum(len(self.turns(name)) for name in ("ann", "bob"))


class InOrderOfWriting(MemoryStore):
    def turns(self, conversation: str) -> tuple[StoredTurn, ...]:
        known = self._conversations.get(conversation)
        return tuple(known.turns.values()) if known else ()


class ForgetsOnBegin(MemoryStore):
    def begin(self, turn: Turn) -> StoredTurn:
        return replace(super().begin(turn), reply=None)


class TakesAnyMessage(MemoryStore):
    def interrupt(self, turn: Turn, partial: Completion) -> None:
        with suppress(TurnConflict):
            super().interrupt(turn, partial)


class TellsNoConflict(MemoryStore):
    def begin(self, turn: Turn) -> StoredTurn:
        try:
            return super().begin(turn)
        except TurnConflict as error:
            raise StoreError(str(error)) from None


class TakesAnyHistory(MemoryStore):
    def begin(self, turn: Turn) -> StoredTurn:
        return super().begin(replace(turn, history=()))


class TakesAnyNumber(MemoryStore):
    def begin(self, turn: Turn) -> StoredTurn:
        return super().begin(replace(turn, number=abs(turn.number or 1) % 2**63 or 1))


class BeginsByItself(MemoryStore):
    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        self.begin(turn)
        super().commit(turn, reply, state)


class Replaces(MemoryStore):
    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        for stored in self.turns(turn.conversation):
            if stored.turn.number == turn.number and stored.reply:
                self._conversations[turn.conversation].turns[turn.number] = replace(stored, reply=None)
        super().commit(turn, reply, state)


class NeverInterrupted(MemoryStore):
    def interrupt(self, turn: Turn, partial: Completion) -> None:
        pass


class InterruptsWhatNeverBegan(MemoryStore):
    def interrupt(self, turn: Turn, partial: Completion) -> None:
        self.begin(turn)
        super().interrupt(turn, partial)


class ClosesOnce(MemoryStore):
    def close(self) -> None:
        super().close()
        del self._conversations


class MergesStates(MemoryStore):
    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        super().commit(turn, reply, {**self.state(turn.conversation), **state})


class SharesState(MemoryStore):
    """State is handed out as it is kept."""

    def __init__(self) -> None:
        super().__init__()
        self._shared: dict[str, Any] = {}

    def state(self, conversation: str) -> Mapping[str, Any]:
        return self._shared.setdefault(conversation, super().state(conversation))


class WritesAnything(MemoryStore):
    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        with suppress(TypeError, ValueError):
            state = json.loads(json.dumps(state, default=str))
        super().commit(turn, reply, state)


class KeepsStateOnUndo(MemoryStore):
    """The state of a turn that is taken back stays."""

    def undo(self, conversation: str) -> Message | None:
        known = self._conversations.get(conversation)
        states = dict(known.states) if known else {}
        message = super().undo(conversation)
        if known and known.numbers:
            known.states[known.numbers[-1]] = states[max(states)]
        return message


class UndoesTheStateBefore(MemoryStore):
    def undo(self, conversation: str) -> Message | None:
        if (known := self._conversations.get(conversation)) and known.numbers[-1] not in known.states:
            known.states.clear()
        return super().undo(conversation)


class WritesOnRedelivery(MemoryStore):
    def begin(self, turn: Turn) -> StoredTurn:
        stored = super().begin(turn)
        self._written(turn.conversation, self._conversations[turn.conversation])
        return stored


class UndoIsNoWrite(MemoryStore):
    def undo(self, conversation: str) -> Message | None:
        order = list(self._conversations)
        message = super().undo(conversation)
        self._conversations = {name: self._conversations[name] for name in order if name in self._conversations}
        return message


BROKEN = (
    (
        "every_store_opened_is_fresh_and_empty",
        Kept,
        "turns of the second store opened: its length is 1. It should be 0.",
    ),
    (
        "every_store_opened_is_fresh_and_empty",
        Halved,
        "Halved has no last_conversation, undo. Store has: begin, close, commit, interrupt, last_conversation, next_number, state, turns, undo.",
    ),
    ("an_unknown_conversation_is_empty", CountsFromZero, "next_number is 0. It should be 1."),
    (
        "what_was_said_comes_back_as_it_was",
        LosesSurrogates,
        "begin: turn.message.parts[2].text is '\\x00\\u2028😀 half: ?'. It should be '\\x00\\u2028😀 half: \\ud83d'.",
    ),
    (
        "turns_are_numbered_from_one_in_each_conversation",
        CountsAllConversations,
        "next_number of bob is 4. It should be 1.",
    ),
    (
        "turns_come_by_number_whatever_the_order_of_writing",
        InOrderOfWriting,
        "numbers of the turns: [0] is 10. It should be 1.",
    ),
    (
        "a_redelivered_turn_gets_the_stored_reply",
        ForgetsOnBegin,
        "begin of the answered turn: reply is None. It should be Completion(text='Yes – 是。', token_ids=(5, 6, 2), finish_rea….",
    ),
    (
        "a_number_taken_by_another_message_is_a_conflict",
        TakesAnyMessage,
        "interrupt with another message was accepted. It should raise TurnConflict.",
    ),
    (
        "a_number_taken_by_another_message_is_a_conflict",
        TellsNoConflict,
        "begin with another message raised StoreError: conversation 'ann', turn 1: it is stored with another message. Use a free number, or undo that turn. It should raise TurnConflict.",
    ),
    (
        "a_number_taken_with_another_history_is_a_conflict",
        TakesAnyHistory,
        "begin with another history was accepted. It should raise TurnConflict.",
    ),
    (
        "a_turn_needs_a_number_from_one_on",
        TakesAnyNumber,
        "begin of turn None was accepted. It should raise StoreError.",
    ),
    (
        "a_reply_without_its_turn_is_refused",
        BeginsByItself,
        "commit without begin was accepted. It should raise StoreError.",
    ),
    ("an_answer_is_never_replaced", Replaces, "commit of another reply was accepted. It should raise StoreError."),
    (
        "an_interrupted_reply_is_kept_and_may_be_replaced",
        NeverInterrupted,
        "begin after interrupt is None. It should be Completion(text='Well', token_ids=(7, 2), finish_reason='in….",
    ),
    ("interrupting_what_never_began_does_nothing", InterruptsWhatNeverBegan, "turns: its length is 1. It should be 0."),
    (
        "closing_twice_is_harmless",
        ClosesOnce,
        "it raised AttributeError: 'ClosesOnce' object has no attribute '_conversations'. It should not.",
    ),
    (
        "state_is_what_the_last_commit_left",
        MergesStates,
        "state with a tuple is {'facts': {'name': 'Ann', 'ünï': None}, 'scores': [1, 2.5, …. It should be {'tuple': [1, [2]]}.",
    ),
    ("state_is_a_copy_on_its_way_in_and_out", SharesState, "state: len(['list']) is 2. It should be 1."),
    (
        "state_that_is_no_json_is_refused_and_nothing_is_stored",
        WritesAnything,
        "commit of a set was accepted. It should raise StoreError.",
    ),
    (
        "undo_takes_turns_back_one_by_one_with_their_state",
        KeepsStateOnUndo,
        "state after the first turn: ['n'] is 2. It should be 1.",
    ),
    ("undo_of_an_interrupted_turn_keeps_the_state", UndoesTheStateBefore, "state is {}. It should be {'n': 1}."),
    (
        "the_last_conversation_is_the_one_written_last",
        WritesOnRedelivery,
        "last_conversation after ann's redelivery (which writes nothing) is 'ann'. It should be 'bob'.",
    ),
    (
        "undo_is_a_write_and_may_end_a_conversation",
        UndoIsNoWrite,
        "last_conversation after an undo is 'bob'. It should be 'ann'.",
    ),
)
"""Promise, a store that breaks it, and what is said of it."""
