"""Candidates: what of a catalogue may be recommended, by what the user said, showed, liked and disliked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from vllm_flow.core.catalogue import Catalogue
from vllm_flow.core.descriptions import Described
from vllm_flow.core.embedding import Embedder
from vllm_flow.core.errors import FlowError
from vllm_flow.core.options import at_least, between
from vllm_flow.core.registry import stage
from vllm_flow.core.segments import Item, LeftOut, Segment, Share
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
    `/remember Dracula=liked` in a chat; what was said last counts. Neither is recommended again. When nothing was said,
    shown or liked, the most popular come first. Equal ones stand as in the catalogue. `described` is what pictures and
    sounds show, in words.
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
        yield from (((), problem) for problem in self._contradictions(catalogue))

    async def run(
        self,
        turn: Turn,
        catalogue: Catalogue,
        embedder: Embedder,
        *,
        context: Context | None = None,
        described: Described | None = None,
    ) -> Segment:
        import numpy

        from vllm_flow.retrieval.index import index
        from vllm_flow.retrieval.ranking import diverse, ranked, wanted

        tastes, gone = self._tastes(turn, catalogue, context)
        liked, disliked = ([place for place, how in tastes.items() if how == word] for word in (LIKED, DISLIKED))
        vectors = await index(catalogue.digest, [one.text for one in catalogue.offers], embedder)
        said = await embedder.embed(self._said(turn, context), "question", tenant=turn.tenant)
        seen = await embedder.embed(described.words((turn.message,)) if described else (), tenant=turn.tenant)
        fond = numpy.concatenate((seen, vectors[liked]))
        want = wanted(said, fond, vectors[disliked], self.said, self.against)
        scores = self._scores(catalogue, vectors, want)
        hits = ranked(scores, tastes.keys(), max(self.pool if self.diversity else 0, self.most))
        chosen = diverse(hits, vectors[[hit.place for hit in hits]], self.most, self.diversity)
        offers = ((catalogue.offers[hit.place], None if want is None else hit.score) for hit in chosen)
        items = tuple(Item(one.text, one.id, score) for one, score in offers)
        left_out = (LeftOut(NAME, "tastes", gone, "not in the catalogue"),) if gone else ()
        return Segment(NAME, items, self.heading, "last", self.share, left_out)

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

    def _tastes(self, turn: Turn, catalogue: Catalogue, context: Context | None) -> tuple[dict[int, str], int]:
        """How each place is liked, as said last, and how many names of earlier turns no offer has (any more).

        Raises FlowError for a name of the options, or of this turn, that no offer has.
        """
        if problems := [*self._contradictions(catalogue)]:
            raise FlowError(" ".join(problems))
        tastes = {catalogue.place(name): how for name, how in self._named()}
        gone, problems = 0, []
        for note in told(context.state) if context else ():
            if (how := (note.value or "").strip().casefold()) not in (LIKED, DISLIKED):
                continue
            try:
                tastes[catalogue.place(note.key)] = how
            except LookupError as error:
                if note.turn == turn.number:
                    problems.append(f"{how}: {error}")
                gone += 1
        if problems:
            raise FlowError(" ".join(problems))
        return tastes, gone

    def _named(self) -> Iterator[tuple[str, str]]:
        """Each name of the options, with how it is liked."""
        yield from ((name, LIKED) for name in self.liked)
        yield from ((name, DISLIKED) for name in self.disliked)

    def _contradictions(self, catalogue: Catalogue) -> Iterator[str]:
        """What the options say that is not in the catalogue, or of one thing twice."""
        known: dict[int, str] = {}
        for name, how in self._named():
            try:
                before = known.setdefault(catalogue.place(name), how)
            except LookupError as error:
                yield f"`{how}`: {error}"
            else:
                if before != how:
                    yield f"`{how}`: '{name}' is `{before}`, too. Keep one of them."
