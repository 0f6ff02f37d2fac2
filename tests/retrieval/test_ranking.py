"""Ranking: what is wanted as a vector, ties, diversity by its formula, and the index of a large collection."""

from __future__ import annotations

import asyncio
import gc
import itertools
from typing import Any

import numpy
import pytest

from tests.embedders.counting import WordEmbedder
from vllm_flow.retrieval import index as indexing
from vllm_flow.retrieval.index import index
from vllm_flow.retrieval.ranking import diverse, ranked, wanted
from vllm_flow.retrieval.scores import Hit

X, Y = (1.0, 0.0), (0.0, 1.0)


def rows(*vectors: tuple[float, ...]) -> Any:
    return numpy.array(vectors, dtype=numpy.float32).reshape(len(vectors), 2)


def unit(*vector: float) -> Any:
    return numpy.array(vector) / numpy.linalg.norm(vector)


def test_what_is_wanted_is_the_mean_of_means_less_what_is_not() -> None:
    found = wanted(rows(X), rows(Y, Y, Y), rows(), share=0.25, against=0.5)
    assert found == pytest.approx(unit(0.25, 0.75))
    assert wanted(rows(X, Y), rows(Y), rows(X), share=0.5, against=0.5) == pytest.approx(unit(0.25 - 0.5, 0.75))


def test_of_a_group_that_is_empty_the_other_has_all_the_share() -> None:
    for share in (0.0, 0.5, 1.0):
        assert wanted(rows(X), rows(), rows(), share, 0.5) == pytest.approx(unit(*X))
        assert wanted(rows(), rows(Y), rows(), share, 0.5) == pytest.approx(unit(*Y))
    assert wanted(rows(), rows(), rows(X), 0.5, 0.5) is None
    assert wanted(rows(X), rows(), rows(X), 0.5, 1.0) is None


def test_of_equal_scores_the_first_place_comes_first_and_some_are_left_out() -> None:
    scores = numpy.array([0.5, 0.9, 0.50001, 0.9, 0.1])
    assert ranked(scores, {3}, 3) == [Hit(1, 0.9), Hit(0, 0.5), Hit(2, 0.5)]
    assert [hit.place for hit in ranked(scores, {0, 1}, 9)] == [3, 2, 4]
    assert ranked(scores, range(5), 2) == []


def test_without_diversity_the_nearest_stay_as_they_are() -> None:
    hits = [Hit(4, 0.9), Hit(2, 0.8)]
    assert diverse(hits, rows(X, X), 1, 0.0) == hits[:1]


@pytest.mark.parametrize("diversity", [0.2, 0.5, 0.8, 1.0])
def test_diversity_is_maximal_marginal_relevance_reckoned_here_by_itself(diversity: float) -> None:
    drawn = numpy.random.default_rng(3).normal(size=(12, 4))
    vectors = (drawn / numpy.linalg.norm(drawn, axis=1, keepdims=True)).astype(numpy.float32)
    hits = [Hit(place, round(1 - place / 20, 4)) for place in range(12)]
    expected: list[int] = []
    while len(expected) < 5:
        worth = {}
        for place in (one for one in range(12) if one not in expected):
            nearest = max((float(vectors[place] @ vectors[one]) for one in expected), default=0.0)
            worth[place] = (1 - diversity) * hits[place].score - diversity * nearest
        expected.append(max(worth, key=lambda one: worth[one]))
    assert [hit.place for hit in diverse(hits, vectors, 5, diversity)] == expected
    assert expected != [0, 1, 2, 3, 4]


def test_of_two_that_say_the_same_the_second_gives_way_to_another() -> None:
    hits = [Hit(0, 0.9), Hit(1, 0.9), Hit(2, 0.6)]
    assert [hit.place for hit in diverse(hits, rows(X, X, Y), 2, 0.3)] == [0, 2]


def test_an_index_is_made_once_block_by_block_and_goes_with_its_embedder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "BLOCK", 2)
    embedder, texts = WordEmbedder("a", "b"), ["a", "b", "a b", "b b", "a"]

    async def several(embedder: WordEmbedder) -> list[Any]:
        return await asyncio.gather(*(index("of these", texts, embedder) for _ in range(3)))

    first, *others = asyncio.run(several(embedder))
    assert all(one is first for one in others)
    assert first.tolist() == asyncio.run(WordEmbedder("a", "b").embed(texts)).tolist()
    assert embedder.asked == [(2, "passage", True), (2, "passage", True), (1, "passage", True)]
    assert asyncio.run(index("of these", texts, embedder)) is first  # another event loop
    for digest in itertools.islice(map(str, itertools.count()), indexing.MOST):
        asyncio.run(index(digest, texts[:1], embedder))
    assert asyncio.run(index("of these", texts, embedder)) is not first
    before = len(indexing._made)
    del embedder
    gc.collect()
    assert len(indexing._made) == before - 1
