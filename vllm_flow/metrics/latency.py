"""Latency: how long an answer took, in seconds. It belongs to the machine and the batch, and never to the request."""

from __future__ import annotations

from vllm_flow.core.answers import Answer
from vllm_flow.core.registry import metric


@metric("time/first_token", higher_is_better=False)
def first_token(answer: Answer) -> float | None:
    """Seconds from the request to its first token."""
    return answer.ttft_s


@metric("time/whole", higher_is_better=False)
def whole(answer: Answer) -> float | None:
    """Seconds from the request to its last token."""
    return answer.seconds
