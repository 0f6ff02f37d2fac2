"""What every store promises: turns and replies, and which talk was last; state and taking back are beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vllm_flow.core.errors import StoreError, TurnConflict
from vllm_flow.core.media import Audio, Image
from vllm_flow.core.messages import Message, Text, assistant, system
from vllm_flow.core.resources import Store, StoredTurn
from vllm_flow.core.values import Turn
from vllm_flow.testing.compare import refused, same
from vllm_flow.testing.shared_promises import threads_may_share_a_store
from vllm_flow.testing.state_promises import STATE_PROMISES
from vllm_flow.testing.talk import CUT, NO, YES, answered, asked

PROMISES: list[Callable[[Store], None]] = []


def promise(check: Callable[[Store], None]) -> Callable[[Store], None]:
    PROMISES.append(check)
    return check


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
def what_was_shown_comes_back_with_its_content(store: Store) -> None:
    image = Image("a" * 64, 3, 2, "cat.png", b"\0 its content")
    audio = Audio("b" * 64, 16000, 8000, data=b"heard")
    known = Image("c" * 64, 1, 1)
    turn = Turn(
        "ann",
        Message("user", (image, Text("What is it?"), audio, known)),
        (Message("user", (image, Text("Look."))), assistant("A cat.")),
        number=1,
    )
    store.begin(turn)
    store.commit(turn, YES, {})
    answered(store, 2, "And now?")
    found = store.turns("ann")[0].turn
    same("turns", found, turn)
    same("content of the message", [one.data for one in found.message.media], [image.data, audio.data, None])
    same("sources of the message", [one.source for one in found.message.media], ["cat.png", "", ""])
    same("content of the history", [one.data for one in found.history[0].media], [image.data])
    shown = Image("c" * 64, 1, 1, data=b"seen")
    store.begin(Turn("ann", Message("user", (shown,)), number=3))
    found = store.turns("ann")[0].turn
    same("content that a later turn brought", [one.data for one in found.message.media][2], b"seen")
    with refused("begin of a turn that shows another", TurnConflict):
        store.begin(replace(turn, message=Message("user", (audio, Text("What is it?"), audio, known))))


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
def closing_twice_is_harmless(store: Store) -> None:
    store.close()
    store.close()


PROMISES.extend((*STATE_PROMISES, threads_may_share_a_store))
