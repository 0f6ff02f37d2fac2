"""References: what an input row gives as the right answer, any JSON value, as texts to compare with."""

from __future__ import annotations

from typing import Any

from vllm_flow.core.errors import shown


def texts_of(reference: Any) -> tuple[str, ...]:
    """One text, or several of which each is right. Raises ValueError for what is no text and no number."""
    items = reference if isinstance(reference, list | tuple) else [reference]
    if not items:
        raise ValueError("the reference is an empty list. Give one right answer or more.")
    return tuple(map(text_of, items))


def text_of(reference: Any) -> str:
    """Raises ValueError."""
    if isinstance(reference, bool) or not isinstance(reference, str | int | float):
        raise ValueError(f"the reference {shown(reference)} is no text. Give a text or a number.")
    text = str(reference)
    if not text.strip():
        raise ValueError("the reference is an empty text. Give one right answer or more.")
    return text
