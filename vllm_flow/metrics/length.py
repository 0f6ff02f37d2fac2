"""Length: how much was said. No axis of quality, but what many others depend on, so it is always told beside them."""

from __future__ import annotations

from vllm_flow.core.answers import Answer
from vllm_flow.core.registry import metric


@metric("length/tokens")
def tokens(answer: Answer) -> float | None:
    """How many tokens the model wrote, the one that ends an answer among them."""
    return answer.completion_tokens


@metric("length/words")
def words(text: str) -> float:
    """How many words there are between spaces; of little meaning for scripts without spaces."""
    return len(text.split())


@metric("length/characters")
def characters(text: str) -> float:
    """How many Unicode characters the text has."""
    return len(text)


@metric("length/truncated", higher_is_better=False)
def truncated(answer: Answer) -> bool | None:
    """Whether `max_tokens` cut the answer off."""
    return None if answer.finish_reason is None else answer.finish_reason == "length"
