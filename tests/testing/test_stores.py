"""The check of stores: each promise is broken by a store that is made to break it and nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest

from vllm_flow.core.errors import StoreError
from vllm_flow.stores import Memory
from vllm_flow.testing import MemoryStore, archive_promises, check_store, shared_promises, store_promises

from . import broken_archives
from .broken_archives import BROKEN_TWO, Two
from .broken_stores import BROKEN, ClosesOnce, InterruptsWhatNeverBegan, Plain


def said(open_store: Any, open_two: Any = None) -> str:
    with pytest.raises(AssertionError) as caught:
        check_store(open_store, open_two)
    return str(caught.value)


@pytest.mark.parametrize("store", BROKEN, ids=lambda one: one.__name__)
def test_a_store_that_breaks_a_promise_is_told_so(store: type) -> None:
    assert said(store) == BROKEN[store]


@pytest.mark.parametrize("store", broken_archives.BROKEN, ids=lambda one: one.__name__)
def test_an_archive_that_breaks_a_promise_is_told_so(store: type) -> None:
    assert said(store) == broken_archives.BROKEN[store]


def two(store: type) -> Any:
    def open_two() -> Any:
        first = store()
        return first, store(first)

    return open_two


@pytest.mark.parametrize("store", BROKEN_TWO, ids=lambda one: one.__name__)
def test_two_that_break_a_promise_are_told_so(store: type) -> None:
    assert said(MemoryStore, two(store)) == BROKEN_TWO[store]


def test_stores_that_keep_their_promises_pass() -> None:
    check_store(MemoryStore)
    check_store(Plain)
    check_store(Plain, two(Two))


@pytest.mark.parametrize(
    ("broken", "promises"),
    [(BROKEN, store_promises()), (broken_archives.BROKEN, archive_promises()), (BROKEN_TWO, shared_promises())],
    ids=["stores", "archives", "shared"],
)
def test_every_promise_can_be_broken_alone(broken: dict[type, str], promises: Any) -> None:
    alone = [text.partition(":")[0] for text in broken.values() if "\n" not in text]
    assert set(alone) == {promise.__name__ for promise in promises}


def test_half_an_archive_is_told_what_it_lacks() -> None:
    class Half(MemoryStore):
        load = dump = None

    assert said(Half) == (
        "Half has no dump, load. An Archive has: conversations, delete, dump, fork, load, search, set_title, taken_back. "
        "Write them all, or none."
    )


def test_all_broken_promises_are_told_at_once_with_their_causes() -> None:
    class Worse(InterruptsWhatNeverBegan, ClosesOnce):
        pass

    with pytest.raises(AssertionError) as caught:
        check_store(Worse)
    assert str(caught.value).splitlines() == [
        BROKEN[InterruptsWhatNeverBegan],
        BROKEN[ClosesOnce].replace("ClosesOnce", "Worse"),
    ]
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert [type(one.__cause__) for one in group.exceptions] == [AssertionError, AttributeError]


def test_a_promise_can_be_tried_alone() -> None:
    (closing,) = [promise for promise in store_promises() if promise.__name__ == "closing_twice_is_harmless"]
    closing(MemoryStore)
    with pytest.raises(AttributeError):
        closing(ClosesOnce)


def test_a_store_is_closed_after_each_promise_even_a_broken_one() -> None:
    closed: list[type] = []

    class Noted(InterruptsWhatNeverBegan):
        def close(self) -> None:
            super().close()
            closed.append(type(self))

    assert said(Noted) == BROKEN[InterruptsWhatNeverBegan]
    assert len(closed) == len(store_promises()) + 2 + 2  # two to see that stores are fresh; one closes twice itself


def test_one_store_for_all_promises_is_refused_before_any_is_tried() -> None:
    class Kept(MemoryStore):
        def close(self) -> None:
            pass

    only = Kept()
    assert said(lambda: only) == (
        "the second store that was opened holds 1 turn of the first. Give a function that opens a fresh, empty store each "
        "time, such as a new file."
    )


def test_what_is_no_store_is_refused_before_any_promise_is_tried() -> None:
    class Halved:
        def __getattr__(self, name: str) -> Any:
            if name in ("undo", "last_conversation", "open"):
                raise AttributeError(name)
            return print

    has = "begin, close, commit, interrupt, last_conversation, next_number, state, turns, undo"
    assert said(MemoryStore()) == "MemoryStore is no function. Give one that opens a store: lambda: MemoryStore(…)."
    assert said(Memory) == f"Memory has no {has}. Give what its open() gives."
    assert said(lambda: MemoryStore) == "MemoryStore is a class. Give an instance of it: MemoryStore(…)."
    assert said(Halved) == f"Halved has no last_conversation, undo. Store has: {has}."


def test_a_store_that_cannot_be_opened_says_why() -> None:
    def open_store() -> MemoryStore:
        raise StoreError("c.sqlite: locked. Wait.")

    with pytest.raises(StoreError, match=re.escape("c.sqlite: locked. Wait.")):
        check_store(open_store)
