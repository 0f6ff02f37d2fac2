"""Judges: which of two answers one prefers, or how good it finds the one that was given, read from what it wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from vllm_flow.core.messages import system, user
from vllm_flow.core.options import OptionProblem
from vllm_flow.core.registry import stage
from vllm_flow.core.values import Completion, Prompt, Score, Turn

Choice = Literal["A", "B", "tie"]
CHOICES: dict[str, Choice] = {"a": "A", "b": "B", "tie": "tie"}
SAID = r"\W*(?:(?i:answer)\s+)?(A|B|(?i:tie))\W*"
"""The letters are capitals, because `a` is a word."""
ON_A_LINE = re.compile(rf"\b(?i:verdict){SAID}$", re.MULTILINE)
ALONE = re.compile(rf"\A{SAID}\Z")
NUMBER = re.compile(r"(?<![\w.,-])-?\d+(?:\.\d+)?(?![\w]|[.,]\d)")
"""One that stands by itself."""


@dataclass(frozen=True, slots=True)
class Preference:
    """What a judge prefers."""

    choice: Choice | None
    """None where it did not say."""
    text: str
    """All that it wrote."""


@stage("judge/verdict")
@dataclass(frozen=True)
class Verdict:
    """The answer that the reply prefers: its last line `Verdict: A`, `Verdict: B` or `Verdict: tie`, or that alone.

    A reply that says neither has no choice, and is never taken for a tie.
    """

    def run(self, reply: Completion) -> Preference:
        found = ON_A_LINE.findall(reply.text) or ALONE.findall(reply.text)
        return Preference(CHOICES[found[-1].lower()] if found else None, reply.text)


@stage("judge/question")
@dataclass(frozen=True)
class Question:
    """What a judge is asked about an answer: the turn's text and the reply to it, with how they are to be rated."""

    system: str = "You rate answers. Say one number from 1, useless, to 5, excellent, and nothing else."

    def run(self, turn: Turn, reply: Completion) -> Prompt:
        asked = f"Question:\n{turn.text}\n\nAnswer:\n{reply.text}\n\nYour rating of the answer:"
        return Prompt((system(self.system), user(asked)))


@stage("judge/rating")
@dataclass(frozen=True)
class Rating:
    """How good a judge finds an answer, from -1 to 1: the last number that it says; the feedback for a next turn.

    There is no score where it says no number, or one that is not between `worst` and `best`.
    """

    worst: float = 1.0
    """The number that is -1."""
    best: float = 5.0
    """The number that is 1; below `worst` where less is better."""

    def problems(self) -> Iterator[OptionProblem]:
        if self.worst == self.best:
            yield OptionProblem(("best",), f"it is {self.best:g}, as `worst` is. Make them differ.")

    def run(self, opinion: Completion) -> Score | None:
        said = NUMBER.findall(opinion.text)
        value = 2 * (float(said[-1]) - self.worst) / (self.best - self.worst) - 1 if said else None
        return None if value is None or abs(value) > 1 else Score(value)
