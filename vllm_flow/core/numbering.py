"""Numbering: which turn of its conversation one is that comes without a number, when others may be writing, too."""

from __future__ import annotations

from dataclasses import replace

from vllm_flow.core.errors import TurnConflict
from vllm_flow.core.resources import Store
from vllm_flow.core.values import Turn


def begun_next(turn: Turn, store: Store) -> Turn:
    """The turn with the next number of its conversation, which it has as soon as it is begun: others may write, too.

    Raises StoreError.
    """
    while True:
        numbered = replace(turn, number=(number := store.next_number(turn.conversation)))
        try:
            store.begin(numbered)
        except TurnConflict:
            if store.next_number(turn.conversation) == number:
                raise
        else:
            return numbered
