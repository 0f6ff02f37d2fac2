"""The policy that leaves nothing out."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Store
from vllm_flow.core.values import Context, Turn
from vllm_flow.stages.context.earlier import begin


@stage("context/full")
@dataclass(frozen=True)
class Full:
    """All earlier messages of the conversation.

    A turn that failed has no answer, and a question without an answer is no history: it stays in the store and out of
    the context. An interrupted answer counts as far as it was said. What has no room is an error.
    """

    def run(self, turn: Turn, store: Store) -> Context:
        return Context((*begin(turn, store), *turn.history), state=store.state(turn.conversation))
