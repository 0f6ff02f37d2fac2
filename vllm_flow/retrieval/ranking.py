"""Ranking: what somebody wants as one vector, and of what is near to it a list that may be made diverse."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from vllm_flow.retrieval.scores import DIGITS, Hit

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    from vllm_flow.core.embedding import Vectors

    Scores = NDArray[numpy.float64]


def wanted(said: Vectors, liked: Vectors, disliked: Vectors, share: float, against: float) -> Vectors | None:
    """One vector of length 1: share · mean(said) + (1 - share) · mean(liked) - against · mean(disliked).

    That is Rocchio's formula (1971): each mean counts the same, however many there are of one. Without `said` the
    share is 0, without `liked` it is 1. None without both, or when they cancel out.
    """
    import numpy

    if not (len(said) or len(liked)):
        return None
    share = share if len(said) and len(liked) else float(len(said) > 0)
    found = numpy.zeros(said.shape[1])
    for vectors, weight in ((said, share), (liked, 1 - share), (disliked, -against)):
        if len(vectors):
            found += weight * vectors.mean(axis=0)
    length = float(numpy.linalg.norm(found))
    return None if length < 1e-6 else (found / length).astype(numpy.float32)


def ranked(scores: Scores, without: Collection[int], most: int) -> list[Hit]:
    """The highest scores of all places but some, that first; of equal ones, to `DIGITS` decimals, the first place."""
    import numpy

    rounded = numpy.round(scores.astype(numpy.float64), DIGITS)
    rounded[list(without)] = -numpy.inf
    order = numpy.argsort(-rounded, kind="stable")[: min(most, len(rounded) - len(set(without)))]
    return [Hit(int(place), float(rounded[place])) for place in order]


def diverse(hits: list[Hit], vectors: Vectors, most: int, diversity: float) -> list[Hit]:
    """So many of the hits, in the order in which they are chosen by maximal marginal relevance.

    Carbonell & Goldstein 1998: each time that with the highest (1 - diversity) · score - diversity · (its cosine with
    the nearest that is chosen already). `vectors` has a row for each hit.
    """
    import numpy

    if not diversity:
        return hits[:most]
    scores = numpy.array([hit.score for hit in hits])
    alike = vectors @ vectors.T
    nearest, left, chosen = numpy.zeros(len(hits)), list(range(len(hits))), list[Hit]()
    while left and len(chosen) < most:
        worth = numpy.round((1 - diversity) * scores[left] - diversity * nearest[left], DIGITS)
        best = left.pop(int(numpy.argmax(worth)))
        nearest = alike[best] if not chosen else numpy.maximum(nearest, alike[best])
        chosen.append(hits[best])
    return chosen
