"""Fusers: turn what is known and what was just said into one prompt."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_flow.core.registry import stage
from vllm_flow.core.values import Context, Prompt, Turn, system


@stage("fuse/chat")
@dataclass(frozen=True)
class Chat:
    """A system message, the earlier messages, then the turn, in the order they were said."""

    system: str | None = None
    """Stands before everything else; null adds none (a model's own template may still do so)."""

    def run(self, turn: Turn, context: Context) -> Prompt:
        first = (system(self.system),) if self.system else ()
        return Prompt((*first, *context.messages, turn.message))


@stage("fuse/plain")
@dataclass(frozen=True)
class Plain:
    """The turn's text as it stands, for the model to go on with: no chat template, no memory.

    Messages that came with the turn stand before it, each on a line of its own.
    """

    def run(self, turn: Turn) -> Prompt:
        return Prompt((*turn.history, turn.message), plain=True)
