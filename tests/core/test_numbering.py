"""Turns without a number, when somebody else writes into the same conversation."""

from __future__ import annotations

import pytest

from vllm_flow.core.errors import TurnConflict
from vllm_flow.core.messages import user
from vllm_flow.core.numbering import begun_next
from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Turn
from vllm_flow.testing import MemoryStore
from vllm_flow.testing.talk import asked


class Contested(MemoryStore):
    """Somebody else is faster, so many times."""

    faster = 2

    def begin(self, turn: Turn) -> StoredTurn:
        if self.faster:
            self.faster -= 1
            super().begin(asked(turn.number, f"from elsewhere {self.faster}"))
        return super().begin(turn)


def test_a_number_that_another_was_faster_to_take_is_left_to_it() -> None:
    store = Contested()
    assert begun_next(Turn("ann", user("mine")), store) == asked(3, "mine")
    assert [one.turn.text for one in store.turns("ann")] == ["from elsewhere 1", "from elsewhere 0", "mine"]


def test_a_store_that_gives_the_same_number_again_is_not_asked_for_ever() -> None:
    class Stuck(MemoryStore):
        def next_number(self, conversation: str) -> int:
            return 1

    store = Stuck()
    store.begin(asked(1, "from elsewhere"))
    with pytest.raises(TurnConflict) as caught:
        begun_next(Turn("ann", user("mine")), store)
    assert str(caught.value) == (
        "conversation 'ann', turn 1: it is stored with another message. Use a free number, or undo that turn."
    )
