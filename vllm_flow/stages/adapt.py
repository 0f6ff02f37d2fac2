"""Adaptation: the model goes on learning from a conversation while it runs, in an adapter that is the conversation's.

What makes an adapter and what uses one are different stages, so a graph decides whether a turn is read before it is
learned or after: a node called `adapter` is used by every inference and every score of its graph, any other name only
where it is wired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vllm_flow.core.adapting import Adapted, AdaptRequest, Lesson, Tuning
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine, EngineOptions
from vllm_flow.core.sampling_plan import STATE as SAMPLING
from vllm_flow.core.spec import Path
from vllm_flow.core.taking import NO_ADAPTERS, adapting
from vllm_flow.core.values import Completion, Context, Prompt, Turn


@stage("adapt/lora")
@dataclass(frozen=True)
class Lora(Tuning):
    """Learn from the conversation, in matrices of low rank beside the weights, which stay as they are.

    It goes on from what the conversation's last committed turn had learned; `context/update` commits this turn's with
    its reply. A turn that brings nothing to learn leaves that as it is. Without any so far there is no adapter.
    """

    loss: Literal["document", "answers"] = "document"
    """What is learned. document: the turn's text, or `document` where that is wired, each token after those before it.
    answers: the conversation's last answer, as what to say there, when it was liked: when the turn's `feedback`, or
    else that which was committed with the answer, is above 0.
    """

    def check(self, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        if not engine.capabilities().adapts:
            yield (), f"the engine, as it is configured, {NO_ADAPTERS}"

    def advise(self, engine: EngineOptions, store: object = None) -> Iterator[tuple[Path, str]]:
        can = engine.capabilities()
        if can.adapts and not can.adapters_last and store and not getattr(store, "volatile", False):
            what = (
                "conversations outlive this run in their store, but not what they learn, and cannot go on without it."
            )
            yield (), f"{what} Set resources.engine.adapters=FOLDER, or choose store=memory."

    async def run(
        self, turn: Turn, context: Context, engine: Engine, *, document: Completion | None = None
    ) -> Adapted | None:
        before, liked = Adapted.of(context.state), _liked(turn, context)
        lesson = self._lesson(turn, context, document, liked)
        if lesson is None:
            return before
        request = AdaptRequest((lesson,), self, before, turn.number or 1, turn.progress, liked)
        return await adapting(engine).adapt(request)

    def _lesson(self, turn: Turn, context: Context, document: Completion | None, liked: float | None) -> Lesson | None:
        if self.loss == "document":
            text = turn.text if document is None else document.text
            return Lesson(None, text) if text.strip() else None
        said = context.messages
        if (liked or 0) <= 0 or not said or said[-1].role != "assistant" or not said[-1].text:
            return None
        return Lesson(Prompt(said[:-1]), said[-1].text)


@stage("adapt/learned")
@dataclass(frozen=True)
class Learned:
    """What the conversation has learned in the turns before this one; nothing is learned now."""

    def run(self, context: Context) -> Adapted | None:
        return Adapted.of(context.state)


def _liked(turn: Turn, context: Context) -> float | None:
    """How the answer before was liked: as the turn says, or else the score that was committed with it."""
    kept: float | None = context.state.get(SAMPLING, {}).get("feedback")
    return kept if turn.feedback is None else turn.feedback
