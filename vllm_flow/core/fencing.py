"""Fences: tags around what is data, by which a model tells it from what it is asked. No data spells its own."""

from __future__ import annotations

from collections.abc import Sequence


def fence_of(name: str, texts: Sequence[str]) -> str:
    """The name of a tag that none of the texts opens or closes."""
    found, number = name, 1
    while any(f"<{found}>" in text or f"</{found}>" in text for text in texts):
        number += 1
        found = f"{name}-{number}"
    return found
