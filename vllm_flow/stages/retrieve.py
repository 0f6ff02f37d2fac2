"""Retrieval from a library: the passages nearest to what the user asks, numbered, so that an answer can cite them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from vllm_flow.core.descriptions import Described
from vllm_flow.core.embedding import Embedder
from vllm_flow.core.library import Library
from vllm_flow.core.options import at_least, between
from vllm_flow.core.registry import stage
from vllm_flow.core.segments import Item, Segment, Share
from vllm_flow.core.values import Context, Turn
from vllm_flow.retrieval.scores import by_meaning, by_words, nearest

HEADING = "Passages that may help:"


def giving_way() -> Share:
    """What was found gives way from the end, where it is least near."""
    return Share(overflow="last")


@dataclass(frozen=True)
class _Retrieve:
    passages: Annotated[int, at_least(1)] = 4
    """How many to find at most."""
    earlier: Annotated[int, at_least(0)] = 0
    """How many of the user's messages before are part of the question: 1 helps with `And how long does that take?`."""
    heading: str = HEADING
    share: Share = field(default_factory=giving_way)
    """Of the prompt's tokens."""

    def question(self, turn: Turn, context: Context | None, described: Described | None) -> str:
        """Of a picture what describers say of it: that is looked up, too."""
        asked = [one for one in context.messages if one.role == "user"] if context else []
        messages = (*(asked[-self.earlier :] if self.earlier else ()), turn.message)
        words = described.words(messages) if described else ()
        return "\n".join((*(one.text for one in messages), *words))

    def segment(self, library: Library, scores: Sequence[float], above: float) -> Segment:
        hits = nearest(scores, self.passages, above)
        found = (replace(library.passages[hit.place], score=hit.score) for hit in hits)
        return Segment("retrieved", tuple(_numbered(found)), self.heading, "last", self.share)


def _numbered(items: Iterable[Item]) -> list[Item]:
    return [replace(one, source=f"{number}: {one.source}") for number, one in enumerate(items, start=1)]


@stage("retrieve/dense")
@dataclass(frozen=True)
class Dense(_Retrieve):
    """The passages whose meaning is nearest to the question's, by an embedder; the nearest first."""

    above: Annotated[float, between(-1, 1)] = 0.25
    """A passage counts only where its cosine is above this."""

    async def run(
        self,
        turn: Turn,
        library: Library,
        embedder: Embedder,
        *,
        context: Context | None = None,
        described: Described | None = None,
    ) -> Segment:
        texts = [one.text for one in library.passages]
        question = self.question(turn, context, described)
        scores = await by_meaning(question, texts, embedder, keep=True, tenant=turn.tenant)
        return self.segment(library, scores, self.above)


@stage("retrieve/bm25", blocking=True)
@dataclass(frozen=True)
class Bm25(_Retrieve):
    """The passages that share the rarest words with the question (BM25). It needs no model, and takes any language."""

    def run(
        self, turn: Turn, library: Library, *, context: Context | None = None, described: Described | None = None
    ) -> Segment:
        texts = [one.text for one in library.passages]
        return self.segment(library, by_words(self.question(turn, context, described), texts, keep=True), 0.0)
