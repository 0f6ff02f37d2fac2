"""What every store promises of a conversation's state, and of taking turns back."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from vllm_flow.core.errors import StoreError
from vllm_flow.core.messages import user
from vllm_flow.core.resources import Store
from vllm_flow.testing.compare import refused, same
from vllm_flow.testing.talk import CUT, YES, answered, asked


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


def state_is_a_copy_on_its_way_in_and_out(store: Store) -> None:
    given: dict[str, Any] = {"list": [1]}
    answered(store, 1, "first", **given)
    given["list"].append(2)
    store.state("ann")["list"].append(3)
    same("state", store.state("ann"), {"list": [1]})


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


def undo_of_an_interrupted_turn_keeps_the_state(store: Store) -> None:
    answered(store, 1, "first", n=1)
    store.begin(asked(2))
    store.interrupt(asked(2), CUT)
    same("undo", store.undo("ann"), user("Is it raining?"))
    same("state", store.state("ann"), {"n": 1})


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


STATE_PROMISES = (
    state_is_what_the_last_commit_left,
    state_is_a_copy_on_its_way_in_and_out,
    state_that_is_no_json_is_refused_and_nothing_is_stored,
    undo_takes_turns_back_one_by_one_with_their_state,
    undo_of_an_interrupted_turn_keeps_the_state,
    undo_is_a_write_and_may_end_a_conversation,
)
