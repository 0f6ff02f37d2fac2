"""Answers: what a record tells of each answer, as the value that metrics ask for. Torch-free and nothing but data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vllm_flow.core.messages import Message
from vllm_flow.core.results import Failure
from vllm_flow.core.values import FinishReason


@dataclass(frozen=True, slots=True)
class Answer:
    """One recorded answer: what was asked, what was said, what it cost. None where the record does not know."""

    conversation: str
    """As recorded. That of a repeat, 1 and on, is written `NAME#1`."""
    turn: int | None = None
    sample: int = 0
    """Which of several independent answers to one prompt."""
    index: int = 0
    """Position in the input, from 0."""
    repeat: int = 0
    """Which repeat of its conversation it belongs to; where that makes several answers, each is a sample of its own."""
    text: str | None = None
    """None when the turn failed, or when the pipeline's output is no text."""
    reference: Any = None
    """What the input row gives to score by: any JSON value. None: it gives nothing."""
    asked: tuple[Message, ...] = ()
    """The messages that came with the turn, its own last. What a store held before them is not among them."""
    token_ids: tuple[int, ...] | None = None
    finish_reason: FinishReason | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    logprobs: tuple[float, ...] | None = None
    """Natural log of each token's probability under the unmodified logits."""
    text_ends: tuple[int, ...] | None = None
    """For each token, how many characters of `text` it and those before it made."""
    ttft_s: float | None = None
    """Time to first token. None for an answer that was served from the store."""
    seconds: float | None = None
    """From the request to its last token."""
    failure: Failure | None = None

    @property
    def prompt(self) -> tuple[str, int | None]:
        """What all samples of one prompt have in common: the conversation without its `#repeat`, and the turn."""
        name = self.conversation.removesuffix(f"#{self.repeat}") if self.repeat else self.conversation
        return name, self.turn


@dataclass(frozen=True, slots=True)
class Marks:
    """What one metric gives the answers to one prompt, by sample, for metrics over samples to read."""

    values: tuple[float | bool | None, ...]
    """None where the metric does not apply, or failed."""
    said: tuple[str | None, ...]
    """What each answer says, as the metric's `said` reads it; equal texts are votes for the same. Of a metric without
    `said` the whole text, case and spaces aside. None for an answer that says nothing."""

    @property
    def known(self) -> tuple[float, ...]:
        """The values that there are; true is 1."""
        return tuple(float(value) for value in self.values if value is not None)
