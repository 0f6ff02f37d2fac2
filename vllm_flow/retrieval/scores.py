"""Scores: how near texts are to a question, by what they mean or by their words; and which of them are the nearest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from vllm_flow.core.embedding import Embedder
from vllm_flow.core.errors import SourceError
from vllm_flow.retrieval.words import words_of_question, words_of_text

DIGITS = 4
"""Scores are compared and told to so many decimals: the last bits of a product depend on the machine."""


@dataclass(frozen=True, slots=True)
class Hit:
    place: int
    """Of the text, from 0."""
    score: float


async def by_meaning(
    question: str, texts: Sequence[str], embedder: Embedder, *, keep: bool = False, tenant: str = ""
) -> list[float]:
    """The cosine of each text with the question: from -1 to 1.

    keep: whether the texts are documents, whose vectors may be kept. tenant: of the turn.
    """
    if not texts:
        return []
    asked = (await embedder.embed((question,), "question", tenant=tenant))[0]
    found = await embedder.embed(texts, keep=keep, tenant="" if keep else tenant)
    return [float(one) for one in found @ asked]


def by_words(question: str, texts: Sequence[str], *, keep: bool = False) -> list[float]:
    """BM25 of each text: 0 where no word is shared, and else the higher the rarer those are.

    keep: whether the texts are documents, whose index is kept for the next question.

    As Lucene has it (k1 1.5, b 0.75); see Kamphuis et al. 2020, "Which BM25 do you mean?". How high a score is says
    nothing by itself: it grows with the number of texts.
    """
    index, words = (_kept_index if keep else _index)(tuple(texts)), words_of_question(question)
    if index is None or not words:
        return [0.0] * len(texts)
    return [float(one) for one in index.get_scores(words)]


def _index(texts: tuple[str, ...]) -> Any:
    """None when there is no word in any of them."""
    words = [words_of_text(one) for one in texts]
    if not any(words):
        return None
    try:
        import bm25s
    except ModuleNotFoundError as cause:
        raise SourceError("search by words: the package bm25s is not installed. Run: pip install bm25s.") from cause
    index = bm25s.BM25(method="lucene", backend="numpy", csc_backend="numpy", auto_compile=False)
    index.index(words, show_progress=False)
    return index


_kept_index = lru_cache(maxsize=4)(_index)


def nearest(scores: Sequence[float], most: int, above: float) -> tuple[Hit, ...]:
    """Of the scores that are higher than `above` the highest, that first; of equal ones the one that stands first."""
    hits = [Hit(place, round(score, DIGITS)) for place, score in enumerate(scores)]
    return tuple(sorted((one for one in hits if one.score > above), key=lambda one: (-one.score, one.place))[:most])
