"""Diversity: how much the samples of one prompt differ, at equal length, since longer texts repeat more words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from vllm_flow.core.answers import Answer
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import metric
from vllm_flow.metrics.units import Unit, pieces, runs


@metric("samples/distinct")
@dataclass(frozen=True)
class Distinct:
    """distinct-n over the samples of a prompt, each cut to one length: different n-grams / n-grams; 1 repeats nothing.

    Li et al. 2016, arXiv:1510.03055; cut, because a ratio of this kind falls with the length of the text alone (Shaib
    et al. 2024, arXiv:2403.00553). It does not apply to fewer than two samples, or to samples too short. No axis of
    quality: noise is diverse.
    """

    n: Annotated[int, at_least(1)] = 2
    """How many tokens make an n-gram."""
    length: Annotated[int, at_least(1)] | None = None
    """Cut to so many tokens; samples that are shorter do not count. null cuts to the shortest of the prompt's, which is
    another length in another run: set one where runs are compared."""
    unit: Unit = "tokens"
    """What is counted: the model's tokens, which not every engine tells, or words between spaces."""

    def score(self, answers: tuple[Answer, ...]) -> float | None:
        found = [some for answer in answers if (some := pieces(answer, self.unit))]
        length = self.length or min(map(len, found), default=0)
        cut = [some[:length] for some in found if len(some) >= length]
        grams = [gram for some in cut for gram in runs(some, self.n)]
        return len(set(grams)) / len(grams) if len(cut) > 1 and grams else None
