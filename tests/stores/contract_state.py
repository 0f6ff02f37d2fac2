"""What every store must do, second half: conversation state, taking turns back, and which conversation was last."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType

import pytest

from vllm_flow.core.errors import StoreError
from vllm_flow.core.values import user

from .contract import CUT, YES, Open, answered, asked, opened


def state_is_what_the_last_commit_left(open_store: Open) -> None:
    state = {"facts": {"name": "Ann", "ünï": None}, "scores": [1, 2.5, True], "": {}}
    with opened(open_store) as store:
        answered(store, 1, "first", **state)
        assert store.state("ann") == state
        answered(store, 2, "second", **MappingProxyType({"tuple": (1, (2,))}))
        assert store.state("ann") == {"tuple": [1, [2]]}
        store.begin(asked(3))
        assert store.state("ann") == {"tuple": [1, [2]]}
        answered(store, 4, "fourth")
        assert store.state("ann") == {}
        assert store.state("bob") == {}


def state_is_a_copy_on_its_way_in_and_out(open_store: Open) -> None:
    with opened(open_store) as store:
        given = {"list": [1]}
        answered(store, 1, "first", **given)
        given["list"].append(2)
        store.state("ann")["list"].append(3)
        assert store.state("ann") == {"list": [1]}


def state_that_is_no_json_is_refused_and_nothing_is_stored(open_store: Open) -> None:
    looped: list[object] = []
    looped.append(looped)
    refused = {
        "x: set cannot be written as JSON. Use texts, numbers, lists and mappings.": {"x": {1}},
        "x.1.y: nan is no JSON number. Use a finite one or None.": {"x": [0, {"y": float("nan")}]},
        "x: the key 1 is no text. JSON has texts as keys only.": {"x": {1: 2}},
        "the value: nested too deeply to be written. Make it flatter.": {"x": looped},
    }
    with opened(open_store) as store:
        turn = asked(1)
        store.begin(turn)
        for problem, state in refused.items():
            with pytest.raises(StoreError) as caught:
                store.commit(turn, YES, state)
            assert str(caught.value) == f"conversation 'ann', turn 1: not stored, because of {problem}"
        assert store.begin(turn).reply is None


def undo_takes_turns_back_one_by_one_with_their_state(open_store: Open) -> None:
    with opened(open_store) as store:
        answered(store, 1, "first", n=1)
        answered(store, 2, "second", n=2)
        store.begin(asked(3, "third"))
        assert store.undo("ann") == user("third")
        assert store.state("ann") == {"n": 2}
        assert store.undo("ann") == user("second")
        assert store.state("ann") == {"n": 1}
        assert store.next_number("ann") == 2
        answered(store, 2, "second, in other words", n=3)
        assert store.state("ann") == {"n": 3}
        assert [store.undo("ann"), store.undo("ann"), store.undo("ann")] == [
            user("second, in other words"),
            user("first"),
            None,
        ]
        assert store.state("ann") == {}
        assert store.turns("ann") == ()


def undo_of_an_interrupted_turn_keeps_the_state(open_store: Open) -> None:
    with opened(open_store) as store:
        answered(store, 1, "first", n=1)
        store.begin(asked(2))
        store.interrupt(asked(2), CUT)
        assert store.undo("ann") == user("Is it raining?")
        assert store.state("ann") == {"n": 1}


def the_last_conversation_is_the_one_written_last(open_store: Open) -> None:
    with opened(open_store) as store:
        store.begin(asked(1, conversation="ann"))
        assert store.last_conversation() == "ann"
        store.begin(asked(1, conversation="bob"))
        assert store.last_conversation() == "bob"
        store.commit(asked(1, conversation="ann"), YES, {})
        assert store.last_conversation() == "ann"
        store.interrupt(asked(1, conversation="bob"), CUT)
        assert store.last_conversation() == "bob"
        store.begin(asked(1, conversation="ann"))
        assert store.last_conversation() == "bob", "a redelivery writes nothing"


def undo_is_a_write_and_may_end_a_conversation(open_store: Open) -> None:
    with opened(open_store) as store:
        answered(store, 1, "first")
        answered(store, 2, "second")
        answered(store, 1, "hello", conversation="bob")
        store.undo("ann")
        assert store.last_conversation() == "ann"
        store.undo("ann")
        assert store.last_conversation() == "bob"
        store.undo("bob")
        assert store.last_conversation() is None


CHECKS: tuple[Callable[[Open], None], ...] = (
    state_is_what_the_last_commit_left,
    state_is_a_copy_on_its_way_in_and_out,
    state_that_is_no_json_is_refused_and_nothing_is_stored,
    undo_takes_turns_back_one_by_one_with_their_state,
    undo_of_an_interrupted_turn_keeps_the_state,
    the_last_conversation_is_the_one_written_last,
    undo_is_a_write_and_may_end_a_conversation,
)
