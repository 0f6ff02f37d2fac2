"""The policies that look things up in the conversation itself: what is newest in full, and of all else what is nearest
to the question.

A turn is found by the best of its messages and comes back whole, since an answer says little without its question.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from vllm_flow.core.embedding import Embedder
from vllm_flow.core.options import at_least, between
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Store
from vllm_flow.core.segments import Item, LeftOut, Segment, Share
from vllm_flow.core.values import Context, Message, Turn
from vllm_flow.retrieval.scores import Hit, by_meaning, by_words, nearest
from vllm_flow.stages.context import said
from vllm_flow.stages.retrieve import giving_way

NAME = "recalled"
SPEAKERS = {"user": "User", "assistant": "Assistant"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, and what was said until the next."""

    source: str
    messages: tuple[Message, ...]

    def __str__(self) -> str:
        spoken = (one for one in self.messages if one.role != "system")
        return "\n".join(f"{SPEAKERS[one.role]}: {one.text}" for one in spoken)


@dataclass(frozen=True)
class Earlier:
    """What was said before a turn: the newest exchanges, and older ones that are to be looked through."""

    newest: tuple[Exchange, ...]
    older: tuple[Exchange, ...]
    """The latest first: of two that are equally near that one counts."""

    @classmethod
    def of(cls, turn: Turn, store: Store, turns: int) -> Earlier:
        """Commits the user's message."""
        store.begin(turn)
        found: list[Exchange] = []
        for stored in store.turns(turn.conversation):
            number = stored.turn.number or 0
            if number < (turn.number or 0):
                before = len(stored.turn.history)
                found += _cut(f"before turn {number}", stored.turn.history)
                found += _cut(f"turn {number}", said(stored)[before:])
        found += _cut(f"before turn {turn.number}", turn.history)
        start = max(0, len(found) - turns)
        return cls(tuple(found[start:]), tuple(reversed(found[:start])))

    @property
    def texts(self) -> list[tuple[int, str]]:
        """What is looked through: each message by itself, with the exchange it is of."""
        return [
            (place, one.text)
            for place, exchange in enumerate(self.older)
            for one in exchange.messages
            if one.role != "system" and one.text.strip()
        ]


def _cut(source: str, messages: Sequence[Message]) -> Iterator[Exchange]:
    """The messages, cut before every question but the first."""
    group: list[Message] = []
    asked = False
    for message in messages:
        if message.role == "user" and asked:
            yield Exchange(source, tuple(group))
            group, asked = [], False
        asked = asked or message.role == "user"
        group.append(message)
    if group:
        yield Exchange(source, tuple(group))


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
        items = tuple(Item(str(earlier.older[hit.place]), earlier.older[hit.place].source, hit.score) for hit in hits)
        missing = [one for place, one in enumerate(earlier.older) if place not in {hit.place for hit in hits}]
        rules = [one for exchange in reversed(earlier.older) for one in exchange.messages if one.role == "system"]
        recalled = (Segment(NAME, items, self.heading, "last", self.share),) if items else ()
        return Context(
            (*rules, *(message for one in earlier.newest for message in one.messages)),
            state=store.state(turn.conversation),
            left_out=self._left_out(missing),
            segments=recalled,
        )

    def _left_out(self, missing: Sequence[Exchange]) -> tuple[LeftOut, ...]:
        count = sum(one.role != "system" for exchange in missing for one in exchange.messages)
        why = f"neither in the newest {self.turns} turns nor among the {self.found} nearest to the question"
        return (LeftOut("history", "messages", count, why),) if count else ()


@stage("context/retrieval")
@dataclass(frozen=True)
class Retrieval(_Recall):
    """The newest turns, and the older ones whose meaning is nearest to the question's, by an embedder."""

    above: Annotated[float, between(-1, 1)] = 0.2
    """The cosine that a message has to be above of."""

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
