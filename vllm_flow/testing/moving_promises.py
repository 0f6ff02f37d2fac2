"""What an Archive promises of conversations that come and go: dumped, loaded, deleted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from vllm_flow.core.archive import Archive, Kept
from vllm_flow.core.errors import StoreError
from vllm_flow.core.messages import Message, Text, system
from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Turn
from vllm_flow.testing.compare import refused, same
from vllm_flow.testing.talk import CUT, NO, answered, asked

OLD = datetime(2020, 2, 29, 12, 30, 15, 678000, UTC)


def dumped(store: Archive) -> Kept:
    """A conversation with a turn of every kind, as it is dumped, from long ago."""
    answered(store, 1, "first – 一", n=1, deep={"list": [1, 2.5, None]})
    turn = Turn("ann", Message("user", (Text("two"), Text("half: \ud83d"))), (system("Be brief."),), 2, sample=3)
    store.begin(turn)
    store.commit(turn, NO, {})
    store.begin(asked(4))
    store.interrupt(asked(4), CUT)
    store.begin(asked(7))
    store.set_title("ann", "Rain, or 雨")
    return replace(store.dump("ann"), written=OLD)


def a_conversation_comes_back_as_it_was_dumped(store: Archive) -> None:
    kept = dumped(store)
    turns, state = store.turns("ann"), store.state("ann")
    states = [{"n": 1, "deep": {"list": [1, 2.5, None]}}, {}, None, None]
    same("turns of the dump", tuple(StoredTurn(one.turn, one.reply) for one in kept.turns), turns)
    same("states of the dump", [one.state for one in kept.turns], states)
    same("delete", store.delete("ann"), True)
    same("load", store.load(kept), True)
    same("dump of what was loaded", store.dump("ann"), kept)
    same("turns of what was loaded", store.turns("ann"), turns)
    same("state of what was loaded", store.state("ann"), state)
    same("when it was written", store.conversations()[0].written, OLD)
    same("search in what was loaded", [one.number for one in store.search("一")], [1, 1])
    store.undo("ann")
    answered(store, 5, "fifth")
    same("next_number of what was loaded", store.next_number("ann"), 6)
    with refused("a dump of what is not there", StoreError):
        store.dump("bob")


def what_was_taken_back_is_not_dumped(store: Archive) -> None:
    answered(store, 1, "first", n=1)
    answered(store, 2, "second", n=2)
    store.undo("ann")
    same("texts of the dump", [one.turn.text for one in store.dump("ann").turns], ["first"])


def loading_what_is_there_changes_nothing(store: Archive) -> None:
    answered(store, 1, "first", n=1)
    kept = store.dump("ann")
    same("load of what is there", store.load(kept), False)
    same("when it was written", store.conversations()[0].written, kept.written)
    answered(store, 2, "second", n=2)
    with refused("load of what has gone on since", StoreError):
        store.load(kept)
    same("number of turns", len(store.turns("ann")), 2)
    same("state", store.state("ann"), {"n": 2})


def loading_what_no_store_could_hold_is_refused(store: Archive) -> None:
    answered(store, 1, "first", n=1)
    answered(store, 2, "second", n=2)
    kept = store.dump("ann")
    first, second = kept.turns
    store.delete("ann")
    impossible = {
        "turns out of order": (second, first),
        "a turn twice": (first, first),
        "a turn of another conversation": (first, replace(second, turn=replace(second.turn, conversation="bob"))),
        "a turn without a number": (replace(first, turn=replace(first.turn, number=None)),),
        "an answer without a state": (replace(first, state=None),),
        "a state without an answer": (replace(first, reply=None),),
        "a state that is no JSON": (replace(first, state={"x": {1}}),),
    }
    for what, turns in impossible.items():
        with refused(f"load of {what}", StoreError):
            store.load(replace(kept, turns=turns))
    same("conversations", store.conversations(), ())


def a_deleted_conversation_is_gone_from_everywhere(store: Archive) -> None:
    answered(store, 1, "raining", n=1)
    answered(store, 2, "raining", n=2)
    store.undo("ann")
    answered(store, 1, "hello", conversation="bob")
    same("delete", store.delete("ann"), True)
    same("turns", store.turns("ann"), ())
    same("state", store.state("ann"), {})
    same("next_number", store.next_number("ann"), 1)
    same("search", store.search("raining"), ())
    same("conversations", [one.name for one in store.conversations()], ["bob"])
    same("a second delete", store.delete("ann"), False)
    answered(store, 1, "again")
    same("what was taken back in one of the same name", store.taken_back("ann"), ())


def only_what_was_not_written_since_is_deleted(store: Archive) -> None:
    answered(store, 1, "first")
    written = store.conversations()[0].written
    same("delete before it was written", store.delete("ann", before=written), False)
    same("turns", len(store.turns("ann")), 1)
    same("delete after it was written", store.delete("ann", before=written + timedelta(milliseconds=1)), True)


MOVING_PROMISES = (
    a_conversation_comes_back_as_it_was_dumped,
    what_was_taken_back_is_not_dumped,
    loading_what_is_there_changes_nothing,
    loading_what_no_store_could_hold_is_refused,
    a_deleted_conversation_is_gone_from_everywhere,
    only_what_was_not_written_since_is_deleted,
)
