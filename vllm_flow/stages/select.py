"""Selection: choose one of several candidates."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from vllm_flow.core.errors import EngineError, shown
from vllm_flow.core.options import OptionProblem
from vllm_flow.core.registry import stage
from vllm_flow.core.values import Completion, Score


@stage("select/vote")
@dataclass(frozen=True)
class Vote:
    """The first candidate whose answer most candidates give (self-consistency, Wang 2022, arXiv:2203.11171).

    Of answers with equal votes the one given first wins. Candidates in which `answer` finds nothing vote together only
    if nobody else votes.
    """

    answer: str | None = None
    """A regular expression; a candidate's answer is its last match. null: the whole text, case and spaces aside."""

    def problems(self) -> Iterator[OptionProblem]:
        try:
            re.compile(self.answer or "")
        except re.error as error:
            what = f"{shown(self.answer)} is no regular expression: {error}. Mend or remove it."
            yield OptionProblem(("answer",), what)

    def run(self, candidates: tuple[Completion, ...]) -> Completion:
        if not candidates:
            raise EngineError("there are no candidates to choose from. Set sampling.n to 1 or more.")
        answers = [self.answer_of(candidate.text) for candidate in candidates]
        votes = Counter(answer for answer in answers if answer)
        return candidates[answers.index(votes.most_common(1)[0][0])] if votes else candidates[0]

    def answer_of(self, text: str) -> str:
        if self.answer is None:
            return " ".join(text.casefold().split())
        found = list(re.finditer(self.answer, text))
        return found[-1].group() if found else ""


@stage("select/best")
@dataclass(frozen=True)
class Best:
    """The candidate with the highest score; of equals the first."""

    def run(self, candidates: tuple[Completion, ...], scores: tuple[Score, ...]) -> Completion:
        if not candidates or len(candidates) != len(scores):
            raise EngineError(
                f"{len(candidates)} candidates have {len(scores)} scores. Give every candidate one score."
            )
        best = max(range(len(scores)), key=lambda place: scores[place].value)
        return candidates[best]
