"""Verdicts: which of two answers a judge prefers, read from what it wrote."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from vllm_flow.core.registry import stage
from vllm_flow.core.values import Completion

Choice = Literal["A", "B", "tie"]
CHOICES: dict[str, Choice] = {"a": "A", "b": "B", "tie": "tie"}
SAID = r"\W*(?:(?i:answer)\s+)?(A|B|(?i:tie))\W*"
"""The letters are capitals, because `a` is a word."""
ON_A_LINE = re.compile(rf"\b(?i:verdict){SAID}$", re.MULTILINE)
ALONE = re.compile(rf"\A{SAID}\Z")


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
