"""The check of stores: the built-in ones pass, and each promise is broken by a store that is made to break it."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from vllm_flow.core.errors import StoreError
from vllm_flow.stores import Sqlite
from vllm_flow.testing import MemoryStore, check_store, store_promises

from .broken_stores import BROKEN, ClosesOnce, InterruptsWhatNeverBegan


def test_the_built_in_stores_keep_every_promise(tmp_path: Path) -> None:
    files = count()
    check_store(MemoryStore)
    check_store(lambda: Sqlite(str(tmp_path / f"{next(files)}.sqlite")).open())


@pytest.mark.parametrize(("promise", "store", "said"), BROKEN, ids=lambda one: getattr(one, "__name__", ""))
def test_a_store_that_breaks_a_promise_is_told_so(promise: str, store: type, said: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_store(store)
    assert f"{promise}: {said}" in str(caught.value).splitlines()


def test_every_promise_is_in_the_table() -> None:
    assert {promise.__name__ for promise in store_promises()} == {promise for promise, _, _ in BROKEN}


def test_all_broken_promises_are_told_at_once_with_their_causes() -> None:
    class Worse(InterruptsWhatNeverBegan, ClosesOnce):
        pass

    with pytest.raises(AssertionError) as caught:
        check_store(Worse)
    assert str(caught.value).splitlines() == [
        "interrupting_what_never_began_does_nothing: turns: its length is 1. It should be 0.",
        "closing_twice_is_harmless: it raised AttributeError: 'Worse' object has no attribute '_conversations'. "
        "It should not.",
    ]
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    assert [type(one.__cause__) for one in group.exceptions] == [AssertionError, AttributeError]


def test_a_promise_can_be_tried_alone() -> None:
    (closing,) = [promise for promise in store_promises() if promise.__name__ == "closing_twice_is_harmless"]
    closing(MemoryStore)
    with pytest.raises(AttributeError):
        closing(ClosesOnce)


def test_a_store_that_cannot_be_opened_says_why_at_every_promise() -> None:
    def open_store() -> MemoryStore:
        raise StoreError("c.sqlite: locked. Wait.")

    with pytest.raises(AssertionError) as caught:
        check_store(open_store)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(store_promises())
    assert lines[-1] == (
        "undo_is_a_write_and_may_end_a_conversation: it raised StoreError: c.sqlite: locked. Wait. It should not."
    )
