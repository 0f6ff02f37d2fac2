"""The check of a store, promise by promise.

The contract of a refusal is the error's class, StoreError or TurnConflict: callers tell them apart, and a store over a
network has other advice to give than one in a file. The built-in stores share their words in `stores/rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

from vllm_flow.core.resources import Store
from vllm_flow.testing import store_promises as promises
from vllm_flow.testing.compare import Broken, has_methods, report, require
from vllm_flow.testing.talk import asked

OpenStore = Callable[[], Store]
"""Gives a fresh, empty store each time it is called."""


@dataclass(frozen=True)
class StorePromise:
    """One thing every store must do."""

    check: Callable[[Store], None]

    @property
    def __name__(self) -> str:
        """What it promises; pytest names a test case after it."""
        return self.check.__name__

    def __call__(self, open_store: OpenStore) -> None:
        """Try it on a store of its own. Raises AssertionError when it is broken, and whatever the store raises."""
        store = open_store()
        try:
            self.check(store)
        except BaseException:
            with suppress(Exception):  # what came first is what matters
                store.close()
            raise
        store.close()


def store_promises() -> tuple[StorePromise, ...]:
    """Each to be called with `open_store`: one test case for each."""
    return tuple(map(StorePromise, promises.PROMISES))


def check_store(open_store: OpenStore) -> None:
    """Try every promise on a store of its own: `open_store` must give a fresh, empty one each time it is called.

    Raises AssertionError with one line for each promise that is not kept, and what `open_store` raises.
    """
    _check_fresh(open_store)
    report(_broken(open_store))


def _broken(open_store: OpenStore) -> Iterator[Broken]:
    for promise in store_promises():
        try:
            promise(open_store)
        except Exception as error:
            yield Broken(promise.__name__, error)


def _check_fresh(open_store: OpenStore) -> None:
    """Otherwise nearly every promise would seem to be broken."""
    is_a = type(open_store).__name__
    require(callable(open_store), f"{is_a} is no function. Give one that opens a store: lambda: {is_a}(…).")
    store = open_store()
    has_methods(store, Store)
    with closing(store):
        store.begin(asked(1))
    with closing(open_store()) as store:
        held = len(store.turns("ann"))
    what = f"the second store that was opened holds {held} turn of the first"
    require(not held, f"{what}. Give a function that opens a fresh, empty store each time, such as a new file.")
