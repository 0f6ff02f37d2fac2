"""The policies that look things up in the conversation itself: what is newest in full, and of all else what is nearest
to the question.

A turn is found by the best of its messages and comes back whole, since an answer says little without its question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from vllm_flow.core.embedding import Embedder
from vllm_flow.core.options import at_least, between
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Store
from vllm_flow.core.segments import Item, Segment, Share
from vllm_flow.core.values import Context, Turn
from vllm_flow.retrieval.scores import Hit, by_meaning, by_words, nearest
from vllm_flow.stages.context.earlier import Exchange, begun, exchanges, left_out, without
from vllm_flow.stages.retrieve import giving_way

NAME = "recalled"


@dataclass(frozen=True)
class Earlier:
    """What was said before a turn: the newest exchanges, and older ones that are to be looked through."""

    newest: tuple[Exchange, ...]
    older: tuple[Exchange, ...]
    """The latest first: of two that are equally near that one counts."""

    @classmethod
    def of(cls, turn: Turn, store: Store, turns: int) -> Earlier:
        """Commits the user's message."""
        found = exchanges(turn, begun(turn, store))
        start = max(0, len(found) - turns)
        return cls(found[start:], tuple(reversed(found[:start])))

    @property
    def texts(self) -> list[tuple[int, str]]:
        """What is looked through: each message by itself, with the exchange it is of."""
        spoken = ((place, one.text) for place, exchange in enumerate(self.older) for one in exchange.spoken)
        return [(place, text) for place, text in spoken if text.strip()]


@dataclass(frozen=True)
class _Recall:
    turns: Annotated[int, at_least(0)] = 4
    """How many of the newest turns to keep in full."""
    found: Annotated[int, at_least(1)] = 4
    """How many older ones to look up at most."""
    heading: str = "Said earlier in this conversation:"
    share: Share = field(default_factory=giving_way)
    """Of the prompt's tokens, for what was looked up."""

    def context(self, turn: Turn, store: Store, earlier: Earlier, scores: Sequence[float], above: float) -> Context:
        best: dict[int, float] = {}
        for (place, _), score in zip(earlier.texts, scores, strict=True):
            best[place] = max(score, best.get(place, score))
        places = list(best)
        hits = [Hit(places[one.place], one.score) for one in nearest([*best.values()], self.found, above)]
        items = tuple(
            Item(_as_text(earlier.older[one.place]), earlier.older[one.place].source, one.score) for one in hits
        )
        missing = [one for place, one in enumerate(earlier.older) if place not in {hit.place for hit in hits}]
        why = f"neither in the newest {self.turns} turns nor among the {self.found} nearest to the question"
        return Context(
            without(earlier.older[::-1], earlier.newest),
            state=store.state(turn.conversation),
            left_out=left_out(missing, why),
            segments=(Segment(NAME, items, self.heading, "last", self.share),) if items else (),
        )


def _as_text(exchange: Exchange) -> str:
    return "\n".join(f"{one.role.capitalize()}: {one.text}" for one in exchange.spoken)


@stage("context/retrieval")
@dataclass(frozen=True)
class Retrieval(_Recall):
    """The newest turns, and the older ones whose meaning is nearest to the question's, by an embedder."""

    above: Annotated[float, between(-1, 1)] = 0.2
    """A message counts only where its cosine is above this."""

    async def run(self, turn: Turn, store: Store, embedder: Embedder) -> Context:
        earlier = Earlier.of(turn, store, self.turns)
        texts = [text for _, text in earlier.texts]
        scores = await by_meaning(turn.text, texts, embedder, tenant=turn.tenant)
        return self.context(turn, store, earlier, scores, self.above)


@stage("context/bm25")
@dataclass(frozen=True)
class Bm25(_Recall):
    """The newest turns, and the older ones that share the rarest words with the question (BM25). It needs no model."""

    def run(self, turn: Turn, store: Store) -> Context:
        earlier = Earlier.of(turn, store, self.turns)
        scores = by_words(turn.text, [text for _, text in earlier.texts])
        return self.context(turn, store, earlier, scores, 0.0)
