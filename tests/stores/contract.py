"""What every store must do, first half, turns and replies: one function for each promise.

Each is given a way to open a fresh, empty store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from vllm_flow.core.errors import StoreError, TurnConflict
from vllm_flow.core.resources import Store, StoredTurn
from vllm_flow.core.values import Completion, Message, Text, Turn, Usage, assistant, system, user

Open = Callable[[], Store]
YES = Completion("Yes – 是。", (5, 6, 2), "stop", Usage(12, 3), (-0.25, -1e-9, 0.0))
NO = Completion("No.", (7, 2), "length", Usage(12, 2))
CUT = Completion("Well, I", (9, 10), "interrupted", Usage(12, 2))


def asked(number: int | None, text: str = "Is it raining?", conversation: str = "ann") -> Turn:
    return Turn(conversation, user(text), number=number)


def answered(store: Store, number: int, text: str, conversation: str = "ann", **state: object) -> Turn:
    turn = asked(number, text, conversation)
    store.begin(turn)
    store.commit(turn, replace(YES, text=f"{text}: yes"), state)
    return turn


@contextmanager
def opened(open_store: Open) -> Iterator[Store]:
    store = open_store()
    try:
        yield store
    finally:
        store.close()


def an_unknown_conversation_is_empty(open_store: Open) -> None:
    with opened(open_store) as store:
        assert isinstance(store, Store)
        assert store.next_number("ann") == 1
        assert store.turns("ann") == ()
        assert store.state("ann") == {}
        assert store.undo("ann") is None
        assert store.last_conversation() is None


def what_was_said_comes_back_as_it_was(open_store: Open) -> None:
    turn = Turn(
        "ann/1 – 'ünï\0\n",
        Message("user", (Text("one"), Text(""), Text("\0\u2028\U0001f600 half: \ud83d"))),
        (system("Be brief."), assistant("Hello.")),
        number=1,
        sample=3,
        index=17,
    )
    with opened(open_store) as store:
        assert store.begin(turn) == StoredTurn(turn, None)
        assert store.turns(turn.conversation) == (StoredTurn(turn, None),)
        store.commit(turn, YES, {})
        assert store.turns(turn.conversation) == (StoredTurn(turn, YES),)
        assert store.last_conversation() == turn.conversation


def turns_are_numbered_from_one_in_each_conversation(open_store: Open) -> None:
    with opened(open_store) as store:
        for number in (1, 2, 3):
            assert store.next_number("ann") == number
            answered(store, number, f"question {number}")
        assert store.next_number("bob") == 1
        assert [stored.turn.number for stored in store.turns("ann")] == [1, 2, 3]


def turns_come_by_number_whatever_the_order_of_writing(open_store: Open) -> None:
    with opened(open_store) as store:
        for number in (10, 2, 9, 1):
            store.begin(asked(number))
        assert [stored.turn.number for stored in store.turns("ann")] == [1, 2, 9, 10]
        assert store.next_number("ann") == 11


def a_redelivered_turn_gets_the_stored_reply(open_store: Open) -> None:
    with opened(open_store) as store:
        turn = asked(1)
        store.begin(turn)
        assert store.begin(turn).reply is None
        store.commit(turn, YES, {"mood": "wet"})
        assert store.begin(turn) == StoredTurn(turn, YES)
        assert store.begin(replace(turn, index=40)).reply == YES, "where it stood in the input does not matter"
        assert len(store.turns("ann")) == 1
        assert store.state("ann") == {"mood": "wet"}


def a_number_taken_by_another_message_is_a_conflict(open_store: Open) -> None:
    with opened(open_store) as store:
        turn = asked(1)
        store.begin(turn)
        said = "conversation 'ann', turn 1: it is stored with another message. Use a free number, or undo that turn."
        other = asked(1, "Is it snowing?")
        for attempt in (
            lambda: store.begin(other),
            lambda: store.commit(other, YES, {}),
            lambda: store.interrupt(other, CUT),
        ):
            with pytest.raises(TurnConflict) as caught:
                attempt()
            assert str(caught.value) == said
        assert store.turns("ann") == (StoredTurn(turn, None),)


def a_number_taken_with_another_history_is_a_conflict(open_store: Open) -> None:
    with opened(open_store) as store:
        answered(store, 1, "And now?")
        with pytest.raises(TurnConflict) as caught:
            store.begin(replace(asked(1, "And now?"), history=(system("Lie."),)))
        assert str(caught.value) == (
            "conversation 'ann', turn 1: it is stored with another history. Use a free number, or undo that turn."
        )


def a_turn_needs_a_number_from_one_on(open_store: Open) -> None:
    with opened(open_store) as store:
        with pytest.raises(StoreError) as caught:
            store.begin(asked(None))
        assert str(caught.value) == "conversation 'ann': the turn has no number. Take it from next_number."
        for number in (0, -1, 2**63):
            with pytest.raises(StoreError) as caught:
                store.begin(asked(number))
            assert str(caught.value) == f"conversation 'ann', turn {number}: the number is out of range. Count from 1."
        with pytest.raises(StoreError) as caught:
            store.begin(asked(1, conversation="half \ud83d"))
        assert str(caught.value) == (
            r"conversation 'half \ud83d': the name holds half a surrogate pair. Name it in valid Unicode."
        )
        assert store.last_conversation() is None


def a_reply_without_its_turn_is_refused(open_store: Open) -> None:
    with opened(open_store) as store:
        answered(store, 1, "first")
        with pytest.raises(StoreError) as caught:
            store.commit(asked(2), YES, {})
        assert str(caught.value) == "conversation 'ann', turn 2: there is a reply but no such turn. Call begin first."
        assert len(store.turns("ann")) == 1


def an_answer_is_never_replaced(open_store: Open) -> None:
    with opened(open_store) as store:
        turn = asked(1)
        store.begin(turn)
        store.commit(turn, YES, {"n": 1})
        store.commit(turn, YES, {"n": 1})  # delivered twice
        for reply, state in ((NO, {"n": 1}), (YES, {"n": 2})):
            with pytest.raises(StoreError) as caught:
                store.commit(turn, reply, state)
            assert str(caught.value) == (
                "conversation 'ann', turn 1: it is answered already, by another reply. "
                "Serve the reply that begin returns."
            )
        store.interrupt(turn, CUT)
        assert store.turns("ann") == (StoredTurn(turn, YES),)
        assert store.state("ann") == {"n": 1}


def an_interrupted_reply_is_kept_and_may_be_replaced(open_store: Open) -> None:
    with opened(open_store) as store:
        answered(store, 1, "first", mood="dry")
        turn = asked(2)
        store.begin(turn)
        store.interrupt(turn, replace(NO, text="Well"))
        assert store.begin(turn).reply == replace(NO, text="Well", finish_reason="interrupted")
        store.interrupt(turn, CUT)
        assert store.begin(turn) == StoredTurn(turn, CUT)
        assert store.state("ann") == {"mood": "dry"}
        again = replace(turn, sample=1)
        assert store.begin(again).reply == CUT
        store.commit(again, YES, {"mood": "wet"})
        assert store.begin(turn) == StoredTurn(again, YES), "the turn says which sample was kept"
        assert store.state("ann") == {"mood": "wet"}


def interrupting_what_never_began_does_nothing(open_store: Open) -> None:
    with opened(open_store) as store:
        store.interrupt(asked(1), CUT)
        assert store.turns("ann") == ()
        assert store.next_number("ann") == 1
        assert store.last_conversation() is None


def closing_twice_is_harmless(open_store: Open) -> None:
    store = open_store()
    store.close()
    store.close()


CHECKS: tuple[Callable[[Open], None], ...] = (
    an_unknown_conversation_is_empty,
    what_was_said_comes_back_as_it_was,
    turns_are_numbered_from_one_in_each_conversation,
    turns_come_by_number_whatever_the_order_of_writing,
    a_redelivered_turn_gets_the_stored_reply,
    a_number_taken_by_another_message_is_a_conflict,
    a_number_taken_with_another_history_is_a_conflict,
    a_turn_needs_a_number_from_one_on,
    a_reply_without_its_turn_is_refused,
    an_answer_is_never_replaced,
    an_interrupted_reply_is_kept_and_may_be_replaced,
    interrupting_what_never_began_does_nothing,
    closing_twice_is_harmless,
)
