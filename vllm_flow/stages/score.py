"""Scores: how good one candidate is. `each: completion` scores them all."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_flow.core.errors import EngineError
from vllm_flow.core.registry import stage
from vllm_flow.core.values import Completion, Score


@stage("score/likelihood")
@dataclass(frozen=True)
class Likelihood:
    """The mean log-probability of a completion's tokens: how sure the model was, whatever the length."""

    def run(self, completion: Completion) -> Score:
        if not completion.logprobs:
            raise EngineError("the completion carries no log-probabilities. Set `logprobs: true` where it is made.")
        return Score(sum(completion.logprobs) / len(completion.logprobs))
