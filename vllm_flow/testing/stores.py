"""The check of a store, promise by promise: of every store, of an Archive, and of two that share their conversations.

The contract of a refusal is the error's class, StoreError or TurnConflict: callers tell them apart, and a store over a
network has other advice to give than one in a file. The built-in stores share their words in `stores/rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.archive import Archive
from vllm_flow.core.errors import listed
from vllm_flow.core.resources import Store
from vllm_flow.testing import store_promises as promises
from vllm_flow.testing.archive_promises import ARCHIVE_PROMISES
from vllm_flow.testing.compare import Broken, has_methods, report, require
from vllm_flow.testing.shared_promises import SHARED_PROMISES
from vllm_flow.testing.talk import asked

OpenStore = Callable[[], Store]
"""Gives a fresh, empty store each time it is called."""
OpenTwo = Callable[[], tuple[Store, Store]]
"""Gives two stores each time it is called, on the same, empty conversations: as two processes would open them."""


@dataclass(frozen=True)
class StorePromise:
    """One thing that a store must do."""

    check: Callable[..., None]

    @property
    def __name__(self) -> str:
        """What it promises; pytest names a test case after it."""
        return self.check.__name__

    def __call__(self, open_store: Callable[[], Any]) -> None:
        """Try it on a store, or two, of its own. Raises AssertionError when it is broken, and what the store raises."""
        opened = open_store()
        stores = opened if isinstance(opened, tuple) else (opened,)
        try:
            self.check(*stores)
        except BaseException:
            with suppress(Exception):  # what came first is what matters
                _close(stores)
            raise
        _close(stores)


def store_promises() -> tuple[StorePromise, ...]:
    """Those of every store, each to be called with `open_store`: one test case for each."""
    return tuple(map(StorePromise, promises.PROMISES))


def archive_promises() -> tuple[StorePromise, ...]:
    """Those of a store that is an Archive, each to be called with `open_store`."""
    return tuple(map(StorePromise, ARCHIVE_PROMISES))


def shared_promises() -> tuple[StorePromise, ...]:
    """Those of stores that several processes may open, each to be called with `open_two`."""
    return tuple(map(StorePromise, SHARED_PROMISES))


def check_store(open_store: OpenStore, open_two: OpenTwo | None = None) -> None:
    """Try every promise on a store of its own: `open_store` must give a fresh, empty one each time it is called.

    A store that has the methods of an Archive is held to its promises, too; with `open_two`, which gives two at a time
    on the same conversations, to those of stores that are shared. Raises AssertionError with one line for each promise
    that is not kept, and what `open_store` raises.
    """
    is_archive = _check_fresh(open_store)
    broken = [*_broken(store_promises(), open_store)]
    broken += _broken(archive_promises(), open_store) if is_archive else ()
    broken += _broken(shared_promises(), open_two) if open_two else ()
    report(broken)


def _broken(tried: Sequence[StorePromise], opening: Callable[[], Any]) -> Iterator[Broken]:
    for promise in tried:
        try:
            promise(opening)
        except Exception as error:
            yield Broken(promise.__name__, error)


def _close(stores: Sequence[Store]) -> None:
    with ExitStack() as closing_all:
        for store in stores:
            closing_all.callback(store.close)


def _check_fresh(open_store: OpenStore) -> bool:
    """Otherwise nearly every promise would seem to be broken. Returns whether the store is an Archive."""
    is_a = type(open_store).__name__
    require(callable(open_store), f"{is_a} is no function. Give one that opens a store: lambda: {is_a}(…).")
    store = open_store()
    has_methods(store, Store)
    with closing(store):
        is_archive = _check_archive(store)
        store.begin(asked(1))
    with closing(open_store()) as store:
        held = len(store.turns("ann"))
    what = f"the second store that was opened holds {held} turn of the first"
    require(not held, f"{what}. Give a function that opens a fresh, empty store each time, such as a new file.")
    return is_archive


def _check_archive(store: Store) -> bool:
    """Half an Archive would be taken for none, without a word."""
    wanted = [name for name in vars(Archive) if not name.startswith("_")]
    lacking = [name for name in wanted if not callable(getattr(store, name, None))]
    advice = f"An Archive has: {listed(wanted)}. Write them all, or none."
    require(lacking in ([], wanted), f"{type(store).__name__} has no {listed(lacking)}. {advice}")
    return not lacking
