"""What every store promises, and the check of it.

The contract of a refusal is the error's class, StoreError or TurnConflict: callers tell them apart, and a store over a
network has other advice to give than one in a file. The built-in stores share their words in `stores/rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vllm_flow.testing import store_state, store_turns
from vllm_flow.testing.promises import Broken, report
from vllm_flow.testing.talk import Open

StorePromise = Callable[[Open], None]


def store_promises() -> tuple[StorePromise, ...]:
    """One function each, named by what it promises; called with `open_store`, it raises AssertionError if broken."""
    return (*store_turns.PROMISES, *store_state.PROMISES)


def check_store(open_store: Open) -> None:
    """Try every promise. `open_store` must give a fresh, empty store each time; it is called once or twice for each.

    Raises AssertionError with one line for each promise that is not kept.
    """
    report(_broken(open_store))


def _broken(open_store: Open) -> Iterator[Broken]:
    for promise in store_promises():
        try:
            promise(open_store)
        except Exception as error:
            yield Broken(promise.__name__, error)
