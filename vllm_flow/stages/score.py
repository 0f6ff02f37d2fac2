"""Scores: how good one candidate is, `each: completion` for all of them; and how probable a text is for the model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vllm_flow.core.errors import EngineError
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine, EngineOptions, score
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Completion, Prompt, Score, Turn


@stage("score/likelihood")
@dataclass(frozen=True)
class Likelihood:
    """The mean log-probability of a completion's tokens: how sure the model was, whatever the length."""

    def run(self, completion: Completion) -> Score:
        if not completion.logprobs:
            raise EngineError("the completion carries no log-probabilities. Set `logprobs: true` where it is made.")
        return Score(sum(completion.logprobs) / len(completion.logprobs))


@stage("score/given")
@dataclass(frozen=True)
class Given:
    """How probable the turn's text is for the model, token by token: by itself, or as its answer to the history."""

    def check(self, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        if not engine.capabilities().score:
            yield (), "the engine does not score texts. Choose another, such as engine=transformers."

    async def run(self, turn: Turn, engine: Engine) -> Scored:
        return await score(engine, Prompt(turn.history) if turn.history else None, turn.text)
