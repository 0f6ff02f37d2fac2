"""Variety: a score for texts that do not repeat themselves."""

from __future__ import annotations

from dataclasses import dataclass

from vllm_flow import Completion, Score, stage


@stage("score/variety")
@dataclass(frozen=True)
class Variety:
    """How many of a completion's words are different ones: 1 when no word comes twice, 0 without words."""

    def run(self, completion: Completion) -> Score:
        words = completion.text.casefold().split()
        return Score(len(set(words)) / max(1, len(words)))
