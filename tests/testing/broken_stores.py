"""Stores of which each breaks one promise, and what the check says of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from sqlite3 import ProgrammingError
from threading import get_ident
from typing import Any

from vllm_flow.core.codec import encode, turn_from_json
from vllm_flow.core.errors import StoreError, TurnConflict
from vllm_flow.core.messages import Message, Text
from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Completion, Turn
from vllm_flow.stores.memory import MemoryStore

BROKEN: dict[type, str] = {}
"""Each store with all that is said of it."""


def told(*lines: str) -> Callable[[type], type]:
    def note(store: type) -> type:
        BROKEN[store] = "\n".join(lines)
        return store

    return note


class Plain(MemoryStore):
    """No Archive: a store that offers what a pipeline needs, and nothing else."""

    conversations = set_title = search = fork = taken_back = dump = load = delete = None


@told("an_unknown_conversation_is_empty: it raised StoreError: no such table: turns. It should not.")
class HasNoTablesYet(Plain):
    written = False

    def begin(self, turn: Turn) -> StoredTurn:
        self.written = True
        return super().begin(turn)

    def undo(self, conversation: str) -> Message | None:
        if not self.written:
            raise StoreError("no such table: turns")
        return super().undo(conversation)


@told(
    "what_was_said_comes_back_as_it_was: begin: turn.message.parts[2].text is '\\x00\\u2028😀 half: ?'. "
    "It should be '\\x00\\u2028😀 half: \\ud83d'."
)
class LosesSurrogates(Plain):
    def begin(self, turn: Turn) -> StoredTurn:
        parts = tuple(
            Text(part.text.encode("utf-8", "replace").decode()) if isinstance(part, Text) else part
            for part in turn.message.parts
        )
        return super().begin(replace(turn, message=Message(turn.message.role, parts)))


@told(
    "what_was_shown_comes_back_with_its_content: content of the message: [0] is None. It should be b'\\x00 its content'."
)
class LosesContent(Plain):
    def turns(self, conversation: str) -> tuple[StoredTurn, ...]:
        return tuple(
            replace(one, turn=turn_from_json(json.loads(encode(one.turn)))) for one in super().turns(conversation)
        )


@told("turns_are_numbered_from_one_in_each_conversation: next_number of bob is 4. It should be 1.")
class CountsAllConversations(Plain):
    def next_number(self, conversation: str) -> int:
        return max(super(CountsAllConversations, self).next_number(name) for name in ("ann", "bob"))


@told("turns_come_by_number_whatever_the_order_of_writing: numbers of the turns: [0] is 10. It should be 1.")
class InOrderOfWriting(Plain):
    def turns(self, conversation: str) -> tuple[StoredTurn, ...]:
        known = self._conversations.get(conversation)
        return tuple(known.turns.values()) if known else ()


@told(
    "a_redelivered_turn_gets_the_stored_reply: begin of the answered turn: reply is None. "
    "It should be Completion(text='Yes – 是。', token_ids=(5, 6, 2), finish_rea…."
)
class ForgetsOnBegin(Plain):
    def begin(self, turn: Turn) -> StoredTurn:
        stored = super().begin(turn)
        answered = stored.turn.sample == 0 and stored.reply is not None and stored.reply.finish_reason == "stop"
        return replace(stored, reply=None) if answered else stored


@told(
    "a_number_taken_by_another_message_is_a_conflict: interrupt with another message was accepted. "
    "It should raise TurnConflict."
)
class TakesAnyMessage(Plain):
    def interrupt(self, turn: Turn, partial: Completion) -> None:
        with suppress(TurnConflict):
            super().interrupt(turn, partial)


@told(
    "what_was_shown_comes_back_with_its_content: begin of a turn that shows another raised StoreError: conversation 'ann', "
    "turn 1: it is stored with another message. Use a free number, or undo that turn. It should raise TurnConflict.",
    "a_number_taken_by_another_message_is_a_conflict: begin with another message raised StoreError: conversation 'ann', "
    "turn 1: it is stored with another message. Use a free number, or undo that turn. It should raise TurnConflict.",
    "a_number_taken_with_another_history_is_a_conflict: begin with another history raised StoreError: conversation 'ann', "
    "turn 1: it is stored with another history. Use a free number, or undo that turn. It should raise TurnConflict.",
)
class TellsNoConflict(Plain):
    def begin(self, turn: Turn) -> StoredTurn:
        try:
            return super().begin(turn)
        except TurnConflict as error:
            raise StoreError(str(error)) from None


@told(
    "a_number_taken_with_another_history_is_a_conflict: begin with another history was accepted. "
    "It should raise TurnConflict."
)
class TakesAnyHistory(Plain):
    def begin(self, turn: Turn) -> StoredTurn:
        stored = next((one for one in self.turns(turn.conversation) if one.turn.number == turn.number), None)
        return super().begin(replace(turn, history=stored.turn.history) if stored else turn)


@told("a_turn_needs_a_number_from_one_on: begin of turn None was accepted. It should raise StoreError.")
class TakesAnyNumber(Plain):
    def begin(self, turn: Turn) -> StoredTurn:
        return super().begin(replace(turn, number=abs(turn.number or 1) % 2**63 or 1))


@told("a_reply_without_its_turn_is_refused: commit without begin was accepted. It should raise StoreError.")
class BeginsByItself(Plain):
    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        self.begin(turn)
        super().commit(turn, reply, state)


@told("an_answer_is_never_replaced: commit of another reply was accepted. It should raise StoreError.")
class Replaces(Plain):
    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        for stored in self.turns(turn.conversation):
            if stored.turn.number == turn.number and stored.reply:
                self._conversations[turn.conversation].turns[turn.number] = replace(stored, reply=None)
        super().commit(turn, reply, state)


@told(
    "an_interrupted_reply_is_kept_and_may_be_replaced: begin after interrupt: finish_reason is 'length'. "
    "It should be 'interrupted'."
)
class InterruptsLikeACommit(Plain):
    def interrupt(self, turn: Turn, partial: Completion) -> None:
        super().interrupt(turn, partial)
        if partial.finish_reason != "interrupted":
            self._conversations[turn.conversation].turns[turn.number] = StoredTurn(turn, partial)


@told("interrupting_what_never_began_does_nothing: turns: its length is 1. It should be 0.")
class InterruptsWhatNeverBegan(Plain):
    def interrupt(self, turn: Turn, partial: Completion) -> None:
        self.begin(turn)
        super().interrupt(turn, partial)


@told(
    "state_is_what_the_last_commit_left: state of frozen values is {'facts': {'name': 'Ann', 'ünï': None}, 'scores': "
    "[1, 2.5, …. It should be {'tuple': [1, [2]], 'mapping': {'n': 1}}."
)
class MergesStates(Plain):
    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        super().commit(turn, reply, {**self.state(turn.conversation), **state})


@told("state_is_a_copy_on_its_way_in_and_out: state: len(['list']) is 2. It should be 1.")
class KeepsTheStateItIsGiven(Plain):
    def __init__(self) -> None:
        super().__init__()
        self._given: dict[tuple[str, int | None], Mapping[str, Any]] = {}

    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        super().commit(turn, reply, state)
        self._given[turn.conversation, turn.number] = state

    def state(self, conversation: str) -> Mapping[str, Any]:
        known = self._conversations.get(conversation)
        answered = [number for number in known.numbers if number in known.states] if known else []
        return json.loads(encode(self._given[conversation, answered[-1]])) if answered else {}


@told("state_is_a_copy_on_its_way_in_and_out: state: len(['list']) is 2. It should be 1.")
class HandsOutTheStateItKeeps(Plain):
    def __init__(self) -> None:
        super().__init__()
        self._read: dict[str, Mapping[str, Any]] = {}

    def state(self, conversation: str) -> Mapping[str, Any]:
        state = super().state(conversation)
        return self._read.setdefault(encode(state), state)


@told(
    "state_that_is_no_json_is_refused_and_nothing_is_stored: commit of a set was accepted. It should raise StoreError."
)
class WritesAnything(Plain):
    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        state = {key: list(item) if isinstance(item, set) else item for key, item in state.items()}
        super().commit(turn, reply, state)


@told("undo_takes_turns_back_one_by_one_with_their_state: state after the first turn: ['n'] is 2. It should be 1.")
class KeepsStateOnUndo(Plain):
    def undo(self, conversation: str) -> Message | None:
        known = self._conversations.get(conversation)
        states = dict(known.states) if known else {}
        message = super().undo(conversation)
        if known and known.numbers:
            known.states[known.numbers[-1]] = states[max(states)]
        return message


@told("undo_of_an_interrupted_turn_keeps_the_state: state is {}. It should be {'n': 1}.")
class UndoesTheStateBeforeToo(Plain):
    def undo(self, conversation: str) -> Message | None:
        known, turns = self._conversations.get(conversation), self.turns(conversation)
        if known and turns and turns[-1].reply and turns[-1].reply.finish_reason == "interrupted":
            known.states.clear()
        return super().undo(conversation)


@told(
    "the_last_conversation_is_the_one_written_last: last_conversation after ann's redelivery (which writes nothing) is "
    "'ann'. It should be 'bob'."
)
class WritesOnRedelivery(Plain):
    def begin(self, turn: Turn) -> StoredTurn:
        stored = super().begin(turn)
        self._written(turn.conversation, self._conversations[turn.conversation])
        return stored


@told("undo_is_a_write_and_may_end_a_conversation: last_conversation after an undo is 'bob'. It should be 'ann'.")
class UndoIsNoWrite(Plain):
    def undo(self, conversation: str) -> Message | None:
        order = list(self._conversations)
        message = super().undo(conversation)
        self._conversations = {name: self._conversations[name] for name in order if name in self._conversations}
        return message


@told(
    "closing_twice_is_harmless: it raised AttributeError: 'ClosesOnce' object has no attribute '_conversations'. "
    "It should not."
)
class ClosesOnce(Plain):
    def close(self) -> None:
        super().close()
        del self._conversations


@told(
    "threads_may_share_a_store: it raised ProgrammingError: SQLite objects created in a thread can only be used in that "
    "same thread. It should not."
)
class BelongsToItsThread(Plain):
    def __init__(self) -> None:
        super().__init__()
        self._thread = get_ident()

    def next_number(self, conversation: str) -> int:
        if get_ident() != self._thread:
            raise ProgrammingError("SQLite objects created in a thread can only be used in that same thread.")
        return super().next_number(conversation)
