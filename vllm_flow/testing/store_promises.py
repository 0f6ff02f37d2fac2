"""What every store promises: turns and replies, conversation state, taking turns back, and which talk was last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from vllm_flow.core.errors import StoreError, TurnConflict
from vllm_flow.core.resources import Store, StoredTurn
from vllm_flow.core.values import Completion, Message, Text, Turn, Usage, assistant, system, user
from vllm_flow.testing.compare import refused, same

PROMISES: list[Callable[[Store], None]] = []
YES = Completion("Yes – 是。", (5, 6, 2), "stop", Usage(12, 3), (-0.25, -1e-9, 0.0))
NO = Completion("No.", (7, 2), "length", Usage(12, 2))
CUT = Completion("Well, I", (9, 10), "interrupted", Usage(12, 2))


def promise(check: Callable[[Store], None]) -> Callable[[Store], None]:
    PROMISES.append(check)
    return check


def asked(number: int | None, text: str = "Is it raining?", conversation: str = "ann") -> Turn:
    return Turn(conversation, user(text), number=number)


def answered(store: Store, number: int, text: str, conversation: str = "ann", **state: object) -> Turn:
    """A turn that was begun and committed; the reply is its text and ": yes"."""
    turn = asked(number, text, conversation)
    store.begin(turn)
    store.commit(turn, replace(YES, text=f"{text}: yes"), state)
    return turn


@promise
def an_unknown_conversation_is_empty(store: Store) -> None:
    same("next_number", store.next_number("ann"), 1)
    same("turns", store.turns("ann"), ())
    same("state", store.state("ann"), {})
    same("undo", store.undo("ann"), None)
    same("last_conversation", store.last_conversation(), None)


@promise
def what_was_said_comes_back_as_it_was(store: Store) -> None:
    turn = Turn(
        "ann/1 – 'ünï\0\n",
        Message("user", (Text("one"), Text(""), Text("\0\u2028\U0001f600 half: \ud83d"))),
        (system("Be brief."), assistant("Hello.")),
        number=1,
        sample=3,
        index=17,
    )
    same("begin", store.begin(turn), StoredTurn(turn, None))
    same("turns after begin", store.turns(turn.conversation), (StoredTurn(turn, None),))
    store.commit(turn, YES, {})
    same("turns after commit", store.turns(turn.conversation), (StoredTurn(turn, YES),))
    same("last_conversation", store.last_conversation(), turn.conversation)


@promise
def turns_are_numbered_from_one_in_each_conversation(store: Store) -> None:
    for number in (1, 2, 3):
        same("next_number of ann", store.next_number("ann"), number)
        answered(store, number, f"question {number}")
    same("next_number of bob", store.next_number("bob"), 1)
    same("numbers of ann's turns", [stored.turn.number for stored in store.turns("ann")], [1, 2, 3])


@promise
def turns_come_by_number_whatever_the_order_of_writing(store: Store) -> None:
    for number in (10, 2, 9, 1):
        store.begin(asked(number))
    same("numbers of the turns", [stored.turn.number for stored in store.turns("ann")], [1, 2, 9, 10])
    same("next_number", store.next_number("ann"), 11)


@promise
def a_redelivered_turn_gets_the_stored_reply(store: Store) -> None:
    turn = asked(1)
    store.begin(turn)
    same("the second begin, unanswered", store.begin(turn), StoredTurn(turn, None))
    store.commit(turn, YES, {"mood": "wet"})
    same("begin of the answered turn", store.begin(turn), StoredTurn(turn, YES))
    same("begin from another index of the input", store.begin(replace(turn, index=40)).reply, YES)
    same("number of turns", len(store.turns("ann")), 1)
    same("state", store.state("ann"), {"mood": "wet"})


@promise
def a_number_taken_by_another_message_is_a_conflict(store: Store) -> None:
    turn, other = asked(1), asked(1, "Is it snowing?")
    store.begin(turn)
    with refused("begin with another message", TurnConflict):
        store.begin(other)
    with refused("commit with another message", TurnConflict):
        store.commit(other, YES, {})
    with refused("interrupt with another message", TurnConflict):
        store.interrupt(other, CUT)
    same("turns", store.turns("ann"), (StoredTurn(turn, None),))


@promise
def a_number_taken_with_another_history_is_a_conflict(store: Store) -> None:
    answered(store, 1, "And now?")
    other = replace(asked(1, "And now?"), history=(system("Lie."),))
    with refused("begin with another history", TurnConflict):
        store.begin(other)


@promise
def a_turn_needs_a_number_from_one_on(store: Store) -> None:
    for number in (None, 0, -1, 2**63):
        with refused(f"begin of turn {number}", StoreError):
            store.begin(asked(number))
    with refused("begin in a conversation named with half a surrogate pair", StoreError):
        store.begin(asked(1, conversation="half \ud83d"))
    same("last_conversation", store.last_conversation(), None)


@promise
def a_reply_without_its_turn_is_refused(store: Store) -> None:
    answered(store, 1, "first")
    with refused("commit without begin", StoreError):
        store.commit(asked(2), YES, {})
    same("number of turns", len(store.turns("ann")), 1)


@promise
def an_answer_is_never_replaced(store: Store) -> None:
    turn = asked(1)
    store.begin(turn)
    store.commit(turn, YES, {"n": 1})
    store.commit(turn, YES, {"n": 1})  # delivered twice
    with refused("commit of another reply", StoreError):
        store.commit(turn, NO, {"n": 1})
    with refused("commit of another state", StoreError):
        store.commit(turn, YES, {"n": 2})
    store.interrupt(turn, CUT)
    same("turns", store.turns("ann"), (StoredTurn(turn, YES),))
    same("state", store.state("ann"), {"n": 1})


@promise
def an_interrupted_reply_is_kept_and_may_be_replaced(store: Store) -> None:
    answered(store, 1, "first", mood="dry")
    turn = asked(2)
    store.begin(turn)
    store.interrupt(turn, replace(NO, text="Well"))
    kept = replace(NO, text="Well", finish_reason="interrupted")
    same("begin after interrupt", store.begin(turn).reply, kept)
    store.interrupt(turn, CUT)
    same("begin after a second interrupt", store.begin(turn), StoredTurn(turn, CUT))
    same("state after interrupt", store.state("ann"), {"mood": "dry"})
    again = replace(turn, sample=1)
    same("begin of a retry", store.begin(again).reply, CUT)
    store.commit(again, YES, {"mood": "wet"})
    same("begin after the retry's commit", store.begin(turn), StoredTurn(again, YES))
    same("state after commit", store.state("ann"), {"mood": "wet"})


@promise
def interrupting_what_never_began_does_nothing(store: Store) -> None:
    store.interrupt(asked(1), CUT)
    same("turns", store.turns("ann"), ())
    same("next_number", store.next_number("ann"), 1)
    same("last_conversation", store.last_conversation(), None)


@promise
def state_is_what_the_last_commit_left(store: Store) -> None:
    state: dict[str, Any] = {"facts": {"name": "Ann", "ünï": None}, "scores": [1, 2.5, True], "": {}}
    answered(store, 1, "first", **state)
    same("state after a commit", store.state("ann"), state)
    answered(store, 2, "second", tuple=(1, (2,)), mapping=MappingProxyType({"n": 1}))
    same("state of frozen values", store.state("ann"), {"tuple": [1, [2]], "mapping": {"n": 1}})
    store.begin(asked(3))
    same("state after begin", store.state("ann"), {"tuple": [1, [2]], "mapping": {"n": 1}})
    answered(store, 4, "fourth")
    same("state after a commit of none", store.state("ann"), {})
    same("state of another conversation", store.state("bob"), {})


@promise
def state_is_a_copy_on_its_way_in_and_out(store: Store) -> None:
    given: dict[str, Any] = {"list": [1]}
    answered(store, 1, "first", **given)
    given["list"].append(2)
    store.state("ann")["list"].append(3)
    same("state", store.state("ann"), {"list": [1]})


@promise
def state_that_is_no_json_is_refused_and_nothing_is_stored(store: Store) -> None:
    looped: list[object] = []
    looped.append(looped)
    impossible: dict[str, dict[str, Any]] = {
        "a set": {"x": {1}},
        "NaN": {"x": [0, {"y": float("nan")}]},
        "a key that is a number": {"x": {1: 2}},
        "a list that holds itself": {"x": looped},
    }
    turn = asked(1)
    store.begin(turn)
    for what, state in impossible.items():
        with refused(f"commit of {what}", StoreError):
            store.commit(turn, YES, state)
    same("the reply kept", store.begin(turn).reply, None)


@promise
def undo_takes_turns_back_one_by_one_with_their_state(store: Store) -> None:
    answered(store, 1, "first", n=1)
    answered(store, 2, "second", n=2)
    store.begin(asked(3, "third"))
    same("undo of the third turn", store.undo("ann"), user("third"))
    same("state after the second turn", store.state("ann"), {"n": 2})
    same("undo of the second turn", store.undo("ann"), user("second"))
    same("state after the first turn", store.state("ann"), {"n": 1})
    same("next_number", store.next_number("ann"), 2)
    answered(store, 2, "second, in other words", n=3)
    same("state after the new second turn", store.state("ann"), {"n": 3})
    same("undo of the new second turn", store.undo("ann"), user("second, in other words"))
    same("undo of the first turn", store.undo("ann"), user("first"))
    same("undo of nothing", store.undo("ann"), None)
    same("state in the end", store.state("ann"), {})
    same("turns in the end", store.turns("ann"), ())


@promise
def undo_of_an_interrupted_turn_keeps_the_state(store: Store) -> None:
    answered(store, 1, "first", n=1)
    store.begin(asked(2))
    store.interrupt(asked(2), CUT)
    same("undo", store.undo("ann"), user("Is it raining?"))
    same("state", store.state("ann"), {"n": 1})


@promise
def the_last_conversation_is_the_one_written_last(store: Store) -> None:
    store.begin(asked(1, conversation="ann"))
    same("last_conversation after ann's begin", store.last_conversation(), "ann")
    store.begin(asked(1, conversation="bob"))
    same("last_conversation after bob's begin", store.last_conversation(), "bob")
    store.commit(asked(1, conversation="ann"), YES, {})
    same("last_conversation after ann's commit", store.last_conversation(), "ann")
    store.interrupt(asked(1, conversation="bob"), CUT)
    same("last_conversation after bob's interrupt", store.last_conversation(), "bob")
    store.begin(asked(1, conversation="ann"))
    same("last_conversation after ann's redelivery (which writes nothing)", store.last_conversation(), "bob")


@promise
def undo_is_a_write_and_may_end_a_conversation(store: Store) -> None:
    answered(store, 1, "first")
    answered(store, 2, "second")
    answered(store, 1, "hello", conversation="bob")
    store.undo("ann")
    same("last_conversation after an undo", store.last_conversation(), "ann")
    store.undo("ann")
    same("last_conversation when ann's is at its end", store.last_conversation(), "bob")
    store.undo("bob")
    same("last_conversation when none is left", store.last_conversation(), None)


@promise
def closing_twice_is_harmless(store: Store) -> None:
    store.close()
    store.close()
