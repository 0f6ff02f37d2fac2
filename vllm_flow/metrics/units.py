"""Units: the pieces a text is compared in, and the runs of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

from vllm_flow.core.answers import Answer

Unit = Literal["tokens", "words"]
Pieces = Sequence[Hashable]


def pieces(answer: Answer, unit: Unit) -> Pieces | None:
    """The model's tokens, or the words between spaces; None where the record has none."""
    if unit == "tokens":
        return answer.token_ids or None
    return None if answer.text is None else answer.text.split()


def runs(of: Pieces, n: int) -> list[tuple[Hashable, ...]]:
    """Every run of n pieces that follow each other: the n-grams. None of a text that is shorter."""
    return [tuple(of[start : start + n]) for start in range(len(of) - n + 1)]
