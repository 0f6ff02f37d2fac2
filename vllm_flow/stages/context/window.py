"""The policy that keeps what is newest. With `step` it moves in jumps, so that a prefix cache has something to find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import EngineOptions, Store
from vllm_flow.core.segments import HISTORY, Share
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Context, Turn
from vllm_flow.stages.context.earlier import begun, exchanges, left_out, past, without


@stage("context/window")
@dataclass(frozen=True)
class Window:
    """The newest turns of the conversation; how many messages were left out is counted and shown.

    Turns are whole: no question is kept without its answer. System messages of the history stay.
    """

    turns: Annotated[int, at_least(0)] | None = 8
    """How many earlier turns to keep, at most, each a question and its answer; null: as many as `tokens` allows."""
    tokens: Annotated[int, at_least(1)] | None = None
    """How many tokens they may have together; null: as many as there is room for. The oldest go first."""
    step: Annotated[int, at_least(1)] = 1
    """How many go at once when one has to. With more than 1 the prompt begins for so many turns as it did, so that a
    prefix cache finds it again; there are then up to `step - 1` turns fewer in it."""

    def problems(self) -> Iterator[OptionProblem]:
        if self.turns is None and self.tokens is None:
            yield OptionProblem(("turns",), "neither turns nor tokens bound the window. Give one, or use context/full.")
        if self.turns is not None:
            yield from too_far(self.step, self.turns)

    def check(self, engine: EngineOptions | None = None) -> Iterator[tuple[Path, str]]:
        if self.tokens is not None and engine is not None and not engine.capabilities().measures:
            what = "`tokens`: the engine cannot count the tokens of a prompt"
            yield (), f"{what}. Give `turns` alone, or choose another engine, such as engine=transformers."

    def run(self, turn: Turn, store: Store) -> Context:
        earlier = exchanges(turn, begun(turn, store))
        start = 0 if self.turns is None else past(len(earlier), self.turns, self.step)
        gone, kept = earlier[:start], earlier[start:]
        why = f"older than the newest {len(kept)} turns" if kept else "no earlier turn is kept"
        share = Share(most=self.tokens, priority=HISTORY.priority, overflow="oldest", step=self.step)
        state = store.state(turn.conversation)
        return Context(without(gone, kept), state=state, left_out=left_out(gone, why), share=share)


def too_far(step: int, turns: int) -> Iterator[OptionProblem]:
    """A step that would leave fewer turns than none."""
    if step > (most := max(1, turns)):
        yield OptionProblem(("step",), f"{step} is more than the {turns} turns that are kept. Choose {most} or less.")
