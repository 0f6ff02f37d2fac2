"""Telling: a store that ends with its process tells the record what it keeps, so that a killed run can go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vllm_flow.core.events import Committed, Event
from vllm_flow.core.resources import Store
from vllm_flow.core.values import Completion, Turn


class Telling:
    """The store itself in all else."""

    def __init__(self, store: Store, name: str, publish: Callable[[Event], None]) -> None:
        self._store, self._name, self._publish = store, name, publish

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        self._store.commit(turn, reply, state)
        self._publish(Committed(self._name, turn, reply, state))

    def restore(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        """Keep what an earlier process had kept."""
        self._store.begin(turn)
        self._store.commit(turn, reply, state)
