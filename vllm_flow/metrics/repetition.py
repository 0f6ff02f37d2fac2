"""Repetition: how much of an answer says again what it has said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vllm_flow.core.answers import Answer
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import metric
from vllm_flow.metrics.units import Unit, pieces, runs


@metric("text/repetition")
@dataclass(frozen=True)
class Repetition:
    """The share of n-grams that stand earlier in the answer: 1 - different n-grams / n-grams; 0 is none.

    seq-rep-n of Welleck et al. 2020, arXiv:1908.04319. It does not apply to an answer of less than n tokens. No axis of
    quality: a song repeats, and noise does not.
    """

    n: Annotated[int, at_least(1)] = 4
    """How many tokens make an n-gram."""
    unit: Unit = "tokens"
    """What is counted: the model's tokens, which not every engine tells, or words between spaces."""

    def score(self, answer: Answer) -> float | None:
        found = runs(pieces(answer, self.unit) or (), self.n)
        return 1 - len(set(found)) / len(found) if found else None
