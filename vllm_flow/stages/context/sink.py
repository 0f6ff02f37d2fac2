"""The policy that keeps how a conversation began beside what is newest in it.

The idea is StreamingLLM's (Xiao et al. 2023, arXiv:2309.17453), which keeps the first *tokens* in the KV cache because
attention leans on them. This is about *turns* of the prompt and does nothing to attention or cache: what was settled at
the beginning, such as who is who and what is wanted, stays in sight, and the model reads an ordinary prompt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Store
from vllm_flow.core.segments import HISTORY, Share
from vllm_flow.core.values import Context, Turn
from vllm_flow.stages.context.earlier import begun, exchanges, left_out, past, without
from vllm_flow.stages.context.window import too_far


@stage("context/sink")
@dataclass(frozen=True)
class Sink:
    """The first turns of the conversation and the newest ones; what lies between is left out, counted and shown.

    Where there is less room than these take, the newest give way, the oldest of them first, and the first turns stay.
    """

    first: Annotated[int, at_least(1)] = 2
    """How many turns to keep of its beginning."""
    turns: Annotated[int, at_least(0)] = 6
    """How many of the newest to keep beside them, at most."""
    step: Annotated[int, at_least(1)] = 1
    """How many go at once when one has to: see context/window."""

    def problems(self) -> Iterator[OptionProblem]:
        yield from too_far(self.step, self.turns)

    def run(self, turn: Turn, store: Store) -> Context:
        earlier = exchanges(turn, begun(turn, store))
        start = self.first + past(len(earlier) - self.first, self.turns, self.step)
        opening, gone, kept = earlier[: self.first], earlier[self.first : start], earlier[start:]
        why = f"neither among the first {self.first} turns nor among the newest {len(kept)}"
        messages = (*without((), opening), *without(gone, kept))
        share = Share(priority=HISTORY.priority, overflow="oldest", step=self.step, first=len(opening))
        state = store.state(turn.conversation)
        return Context(messages, state=state, left_out=left_out(gone, why), share=share)
