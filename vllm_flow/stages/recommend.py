"""Candidates: what of a catalogue may be recommended, by what the user said, showed, liked and disliked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from vllm_flow.core.catalogue import Catalogue
from vllm_flow.core.embedding import Embedder
from vllm_flow.core.errors import FlowError, listed
from vllm_flow.core.options import at_least, between
from vllm_flow.core.registry import stage
from vllm_flow.core.segments import Item, Segment, Share
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Context, Turn
from vllm_flow.stages.context.facts import told
from vllm_flow.stages.retrieve import giving_way

if TYPE_CHECKING:
    from vllm_flow.core.embedding import Vectors
    from vllm_flow.retrieval.ranking import Scores

NAME = "candidates"
LIKED, DISLIKED = "liked", "disliked"


@stage("recommend/candidates")
@dataclass(frozen=True)
class Candidates:
    """What is nearest in a catalogue to what the user said, showed and liked, and far from what is disliked.

    What the user likes is told in a turn, by id or title: `"remember": {"Dracula": "liked", "Emma": "disliked"}`, or
    `/remember Dracula=liked` in a chat. Neither is recommended again. When nothing was said, showed or liked, the most
    popular come first. Equal ones stand as in the catalogue. `described` is what pictures and sounds show, in words.
    """

    most: Annotated[int, at_least(1)] = 8
    """How many to find."""
    liked: tuple[str, ...] = ()
    """Ids or titles of what everybody who is asked likes, beside what the conversation remembers."""
    disliked: tuple[str, ...] = ()
    earlier: Annotated[int, at_least(0)] = 1
    """How many of the user's messages before count as said: 1 helps with `Something shorter, please.`"""
    said: Annotated[float, between(0, 1)] = 0.5
    """How much it counts what was said, against what is liked and was shown. 0: only when nothing is liked or shown."""
    against: Annotated[float, between(0, 1)] = 0.5
    """How much what is disliked counts, against all that."""
    popularity: Annotated[float, between(0, 1)] = 0.0
    """How much it counts what all like, against how near it is. 0: nothing; 1: nothing else does."""
    diversity: Annotated[float, between(0, 1)] = 0.0
    """How much it counts that candidates differ from each other (MMR), against how near they are. 0: nothing; at 1
    every one after the first is the one least like those before it, of the `pool`."""
    pool: Annotated[int, at_least(1)] = 100
    """From so many of the nearest the diverse ones are chosen."""
    heading: str = "What can be recommended:"
    share: Share = field(default_factory=giving_way)
    """Of the prompt's tokens."""

    def check(self, catalogue: Catalogue) -> Iterator[tuple[Path, str]]:
        for name, names in ((LIKED, self.liked), (DISLIKED, self.disliked)):
            yield from (((), f"`{name}`: {problem}") for problem in _unknown(catalogue, names))

    async def run(
        self,
        turn: Turn,
        catalogue: Catalogue,
        embedder: Embedder,
        *,
        context: Context | None = None,
        described: Segment | None = None,
    ) -> Segment:
        import numpy

        from vllm_flow.retrieval.index import index
        from vllm_flow.retrieval.ranking import diverse, ranked, wanted

        liked, disliked = self._tastes(catalogue, context)
        vectors = await index(catalogue.digest, [one.text for one in catalogue.offers], embedder)
        said = await embedder.embed(self._said(turn, context), "question", tenant=turn.tenant)
        seen = await embedder.embed([one.text for one in described.items] if described else (), tenant=turn.tenant)
        fond = numpy.concatenate((seen, vectors[liked]))
        want = wanted(said, fond, vectors[disliked], self.said, self.against)
        scores = self._scores(catalogue, vectors, want)
        hits = ranked(scores, {*liked, *disliked}, max(self.pool if self.diversity else 0, self.most))
        chosen = diverse(hits, vectors[[hit.place for hit in hits]], self.most, self.diversity)
        offers = ((catalogue.offers[hit.place], None if want is None else hit.score) for hit in chosen)
        items = tuple(Item(one.text, one.id, score) for one, score in offers)
        return Segment(NAME, items, self.heading, "last", self.share)

    def _said(self, turn: Turn, context: Context | None) -> list[str]:
        before = [one.text for one in context.messages if one.role == "user"] if context else []
        texts = (*(before[-self.earlier :] if self.earlier else ()), turn.text)
        return [one for one in texts if one.strip()]

    def _scores(self, catalogue: Catalogue, vectors: Vectors, want: Vectors | None) -> Scores:
        """Of all offers; by popularity alone where there is nothing to be near to."""
        import numpy

        weight = 1.0 if want is None else self.popularity
        scores: Scores = numpy.zeros(len(vectors))
        if want is not None:
            scores = scores + (1 - weight) * (vectors @ want)
        if weight:  # on a scale of orders of magnitude, from 0 to 1: otherwise a few would drown all others
            counts = numpy.array([one.popularity or 0.0 for one in catalogue.offers])
            scaled = numpy.log1p(counts - counts.min())
            scores = scores + weight * scaled / (scaled.max() or 1.0)
        return scores

    def _tastes(self, catalogue: Catalogue, context: Context | None) -> tuple[list[int], list[int]]:
        """The places of what is liked and disliked. Raises FlowError."""
        known = told(context.state) if context else {}
        named = {LIKED: [*self.liked], DISLIKED: [*self.disliked]}
        for name, how in known.items():
            if (word := how.strip().casefold()) in named:
                named[word].append(name)
        problems = [*_unknown(catalogue, (*named[LIKED], *named[DISLIKED]))]
        if problems:
            raise FlowError(f"liked or disliked: {' '.join(problems)} What a conversation remembers, /forget forgets.")
        liked, disliked = ({catalogue.place(one): one for one in named[how]} for how in (LIKED, DISLIKED))
        if both := [name for place, name in liked.items() if place in disliked]:
            raise FlowError(f"liked or disliked: {listed(both)} cannot be both. Say one of them.")
        return list(liked), list(disliked)


def _unknown(catalogue: Catalogue, names: Iterable[str]) -> Iterator[str]:
    for name in names:
        try:
            catalogue.place(name)
        except LookupError as error:
            yield str(error)
