"""Citations: which of the passages that were in the prompt an answer names, by the numbers they had there.

A number that no passage has is told as well: a model that invents sources should be seen to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from vllm_flow.core.ledger import Ledger
from vllm_flow.core.registry import stage
from vllm_flow.core.segments import Item, Segment
from vllm_flow.core.values import Completion, Prompt

BRACKETS = re.compile(r"\[\s*(\d{1,3}(?:\s*[,;]\s*\d{1,3})*)\s*(?::[^\[\]]*)?\]")
"""`[1]`, `[1, 2]`, and `[1: returns.md:12]` as it stands in the prompt."""


@dataclass(frozen=True, slots=True)
class Passage:
    """What the prompt had under a number."""

    number: int
    source: str
    score: float | None
    text: str
    cited: bool


@dataclass(frozen=True, slots=True)
class Cited:
    """An answer with its sources."""

    text: str
    """The answer; below it, on a line each, the sources it names."""
    passages: tuple[Passage, ...]
    """All that it was made from, cited or not, the nearest first."""
    unknown: tuple[int, ...] = ()
    """Numbers in the answer that no passage in the prompt has."""


@stage("cite/passages")
@dataclass(frozen=True)
class Passages:
    """The answer, with the passages that it cites by their numbers: `[1]`.

    With the prompt, those alone that had room in it.
    """

    listed: bool = True
    """Whether the sources stand below the answer."""

    def run(self, reply: Completion, retrieved: Segment, *, prompt: Prompt | None = None) -> Cited:
        named = set(_numbers(reply.text))
        there = retrieved.items if prompt is None or prompt.ledger is None else standing(prompt.ledger, retrieved)
        found = tuple(
            _passage(item, number, number in named)
            for number, item in enumerate(retrieved.items, start=1)
            if item in there
        )
        sources = "\n".join(f"[{one.number}] {one.source}" for one in found if one.cited)
        text = f"{reply.text}\n\n{sources}" if sources and self.listed else reply.text
        return Cited(text, found, tuple(sorted(named - {one.number for one in found})))


def standing(ledger: Ledger, retrieved: Segment) -> tuple[Item, ...]:
    """The items of the segment that stand in the prompt of the ledger."""
    sources = {source for one in ledger.entries if one.segment == retrieved.name for source in one.sources}
    return tuple(item for item in retrieved.items if item.source in sources)


def _numbers(text: str) -> Iterator[int]:
    for found in BRACKETS.finditer(text):
        yield from (int(one) for one in re.split(r"[,;]", found[1]))


def _passage(item: Item, number: int, cited: bool) -> Passage:
    return Passage(number, item.source.removeprefix(f"{number}: "), item.score, item.text, cited)
