"""Archives, and pairs of stores, of which each breaks one promise, and what the check says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from vllm_flow.core.archive import Conversation, Found, Kept
from vllm_flow.core.errors import StoreError, TurnConflict
from vllm_flow.core.messages import Message
from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Turn
from vllm_flow.stores import rules
from vllm_flow.stores.memory import MemoryStore

from .broken_stores import Plain

BROKEN: dict[type, str] = {}
"""Each archive with all that is said of it."""
BROKEN_TWO: dict[type, str] = {}
"""Each store of which two share their conversations, likewise."""


def told(*lines: str, by: dict[type, str] = BROKEN) -> Callable[[type], type]:
    def note(store: type) -> type:
        by[store] = "\n".join(lines)
        return store

    return note


@told("conversations_are_listed_the_one_written_last_first: names: [0] is 'ann'. It should be 'bob'.")
class ListsByName(MemoryStore):
    def conversations(self) -> tuple[Conversation, ...]:
        return tuple(sorted(super().conversations(), key=lambda one: one.name))


@told(
    "a_conversation_of_which_all_was_taken_back_is_listed_with_none: name and turns: its length is 0. It should be 1."
)
class ListsNoEmptyOnes(MemoryStore):
    def conversations(self) -> tuple[Conversation, ...]:
        return tuple(one for one in super().conversations() if one.turns)


@told(
    "a_conversation_is_called_by_its_beginning_until_it_is_titled: title that was given: [0] is 'And now?'. "
    "It should be 'Rain, or 雨'."
)
class TitlesEveryTime(MemoryStore):
    def begin(self, turn: Turn) -> StoredTurn:
        stored = super().begin(turn)
        if turn.number == 3 and turn.text == "And now?":
            self.set_title(turn.conversation, turn.text)
        return stored


@told("a_title_outlives_all_turns_and_a_beginning_does_not: title that was given: [0] is 'third'. It should be 'Rain'.")
class TitlesWhatBeginsAnew(MemoryStore):
    def begin(self, turn: Turn) -> StoredTurn:
        stored = super().begin(turn)
        if turn.text == "third" and turn.number == 1:
            self.set_title(turn.conversation, turn.text)
        return stored


@told("a_title_needs_a_word_and_a_conversation: a title without a word was accepted. It should raise StoreError.")
class TakesAnyTitle(MemoryStore):
    def set_title(self, conversation: str, title: str) -> None:
        super().set_title(conversation, title.strip() or "first")


@told("search_finds_every_word_in_one_message: search 'aining': its length is 1. It should be 0.")
class FindsInsideWords(MemoryStore):
    def search(self, text: str, limit: int = 20) -> tuple[Found, ...]:
        if text == "aining":
            return (Found("ann", 1, Message("user", ())),)
        return super().search(text, limit)


@told("search_finds_chinese_anywhere: search of two characters: its length is 0. It should be 2.")
class FindsThreeCharacters(MemoryStore):
    """As an index of trigrams does."""

    def search(self, text: str, limit: int = 20) -> tuple[Found, ...]:
        return () if len(text) < 3 and not text.isascii() and text != "一" else super().search(text, limit)


@told("search_gives_the_newest_first_and_no_more_than_its_limit: search: [0][0] is 'ann'. It should be 'bob'.")
class FindsTheOldestFirst(MemoryStore):
    def search(self, text: str, limit: int = 20) -> tuple[Found, ...]:
        found = super().search(text, limit)
        return tuple(reversed(found)) if text == "rain" and limit > 3 else found


@told("search_finds_the_reply_that_stands: search of what was replaced: its length is 1. It should be 0.")
class FindsWhatWasReplaced(MemoryStore):
    def search(self, text: str, limit: int = 20) -> tuple[Found, ...]:
        return super().search("hello" if text == "well" else text, 1 if text == "well" else limit)


@told("what_was_taken_back_is_not_found: search: its length is 2. It should be 0.")
class FindsWhatWasTakenBack(MemoryStore):
    def search(self, text: str, limit: int = 20) -> tuple[Found, ...]:
        return super().search("raining" if text == "snowing" else text, limit)


@told("what_was_taken_back_is_kept: taken_back: its length is 0. It should be 2.")
class GivesNothingBack(MemoryStore):
    def taken_back(self, conversation: str) -> tuple[StoredTurn, ...]:
        return super().taken_back(conversation)[:0]


@told("a_fork_has_the_turns_up_to_its_number_with_their_state: state of the half: ['n'] is 3. It should be 2.")
class ForksTheNewestState(MemoryStore):
    def fork(self, conversation: str, to: str, number: int | None = None) -> None:
        super().fork(conversation, to, number)
        fresh, known = self._conversations[to], self._conversations[conversation]
        fresh.states[fresh.numbers[-1]] = known.states[max(known.states)]


@told("a_fork_and_where_it_comes_from_go_on_by_themselves: state where it comes from: ['n'] is 1. It should be 2.")
class UndoesBoth(MemoryStore):
    """As branches do that share their turns."""

    _forks: Mapping[str, str] = {}

    def fork(self, conversation: str, to: str, number: int | None = None) -> None:
        super().fork(conversation, to, number)
        self._forks = {**self._forks, to: conversation}

    def undo(self, conversation: str) -> Message | None:
        if conversation in self._forks:
            super().undo(self._forks[conversation])
        return super().undo(conversation)


@told("a_fork_from_nothing_or_onto_another_is_refused: a fork onto another was accepted. It should raise StoreError.")
class ForksOntoAnother(MemoryStore):
    def fork(self, conversation: str, to: str, number: int | None = None) -> None:
        if conversation in self._conversations and number is None:
            self._conversations.pop(to, None)
        super().fork(conversation, to, number)


@told(
    "a_conversation_comes_back_as_it_was_dumped: dump of what was loaded: written is "
    "datetime.datetime(2026, 2, 28, 12, 30, 15, 678000, tzinfo=d…. "
    "It should be datetime.datetime(2020, 2, 29, 12, 30, 15, 678000, tzinfo=d…."
)
class LoadsAsIfWrittenNow(MemoryStore):
    def load(self, kept: Kept) -> bool:
        return super().load(replace(kept, written=kept.written.replace(year=2026, day=28)))


@told("what_was_taken_back_is_not_dumped: texts of the dump: its length is 2. It should be 1.")
class DumpsWhatWasTakenBack(MemoryStore):
    def dump(self, conversation: str) -> Kept:
        kept = super().dump(conversation)
        back = self.taken_back(conversation) if len(kept.turns) == 1 else ()
        return replace(kept, turns=kept.turns + tuple(replace(kept.turns[0], turn=one.turn) for one in back))


@told("loading_what_is_there_changes_nothing: load of what has gone on since was accepted. It should raise StoreError.")
class LoadsOverIt(MemoryStore):
    def load(self, kept: Kept) -> bool:
        try:
            return super().load(kept)
        except StoreError:
            if kept.name not in self._conversations or len(self.turns(kept.name)) <= len(kept.turns):
                raise
            return False


@told(
    "loading_what_no_store_could_hold_is_refused: load of turns out of order was accepted. It should raise StoreError."
)
class SortsWhatItLoads(MemoryStore):
    def load(self, kept: Kept) -> bool:
        numbers = {one.turn.number for one in kept.turns}
        if len(numbers) == len(kept.turns) > 1 and None not in numbers:
            kept = replace(kept, turns=tuple(sorted(kept.turns, key=lambda one: one.turn.number)))
        return super().load(kept)


@told(
    "a_deleted_conversation_is_gone_from_everywhere: what was taken back in one of the same name: its length is 1. "
    "It should be 0."
)
class DeletesOnlyWhatStands(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self._fallen: dict[str, list[Any]] = {}

    def delete(self, conversation: str, before: datetime | None = None) -> bool:
        known = self._conversations.get(conversation)
        self._fallen[conversation] = known.taken_back if known else self._fallen.get(conversation, [])
        return super().delete(conversation, before)

    def taken_back(self, conversation: str) -> tuple[StoredTurn, ...]:
        left = self._fallen.get(conversation, [])
        return (*(stored for _, stored in left), *super().taken_back(conversation))


@told("only_what_was_not_written_since_is_deleted: delete before it was written is True. It should be False.")
class DeletesRegardless(MemoryStore):
    def delete(self, conversation: str, before: datetime | None = None) -> bool:
        return super().delete(conversation, before and before + timedelta(days=1))


class Two(Plain):
    """One of two on the same conversations."""

    def __init__(self, first: MemoryStore | None = None) -> None:
        super().__init__()
        if first is not None:
            self._conversations, self._lock, self._serials = first._conversations, first._lock, first._serials

    def close(self) -> None:
        """The other goes on."""


@told("what_one_writes_the_other_reads: state of the other is {}. It should be {'n': 1}.", by=BROKEN_TWO)
class ReadsTheStateOnce(Two):
    def state(self, conversation: str) -> Mapping[str, Any]:
        self._read = {conversation: super().state(conversation), **getattr(self, "_read", {})}
        return self._read[conversation]


@told(
    "a_number_is_taken_by_one_of_them: begin of a number that the other has just taken was accepted. "
    "It should raise TurnConflict.",
    by=BROKEN_TWO,
)
class BeginsAsIfAlone(Two):
    def begin(self, turn: Turn) -> StoredTurn:
        with suppress(TurnConflict):
            return super().begin(turn)
        if turn.conversation == "both":
            raise TurnConflict(f"{rules.place(turn)}: it is taken. Use another.")
        return StoredTurn(turn, None)


@told(
    "two_at_once_lose_mix_and_double_nothing: reply to 'b 0' in both is 'b 1: yes'. It should be 'b 0: yes'.",
    by=BROKEN_TWO,
)
class Mixes(Two):
    """The replies of the first two turns of one of them."""

    def turns(self, conversation: str) -> tuple[StoredTurn, ...]:
        told = super().turns(conversation)
        replies = {one.turn.text: one.reply for one in told}
        swapped = {"b 0": "b 1", "b 1": "b 0"}
        return tuple(replace(one, reply=replies[swapped.get(one.turn.text, one.turn.text)]) for one in told)


@told("what_was_acknowledged_outlives_its_writer: turns is {}. It should be {1: 'first'}.", by=BROKEN_TWO)
class EndsWithItsWriter(Two):
    def close(self) -> None:
        self._conversations.clear()
