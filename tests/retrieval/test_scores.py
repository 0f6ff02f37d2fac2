"""Search by words and by meaning: which texts are the nearest, in languages with spaces and without."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import numpy

from vllm_flow.core.embedding import Embedder, Kind
from vllm_flow.retrieval.scores import Hit, by_meaning, by_words, nearest
from vllm_flow.retrieval.words import words_of_question, words_of_text

ENGLISH = ["The lamp may be returned within 30 days.", "Our office is in Lima.", "Lamps are made of glass.", ""]
CHINESE = ["我的猫叫麻糬。", "明天北京会下雨。", "图书馆九点开门。", "東京タワーは高いです。", "한국어 문장입니다."]


def best(question: str, texts: Sequence[str]) -> int | None:
    hits = nearest(by_words(question, texts), 1, 0.0)
    return hits[0].place if hits else None


def test_words_of_languages_with_spaces_are_words_whatever_their_case_and_width() -> None:
    assert words_of_text("The User's ＮＡＭＥ: naïve_x, don’t 3.5 ΣΑΣ") == [
        "the", "user", "name", "naïve", "x", "don't", "3", "5", "σασ",
    ]  # fmt: skip
    assert words_of_text("") == []


def test_words_of_languages_without_spaces_are_pairs_of_characters() -> None:
    assert words_of_question("明天北京天气 in 东京？") == ["明天", "天北", "北京", "京天", "天气", "in", "东京"]
    assert words_of_question("猫") == ["猫"]
    assert words_of_text("猫咪") == ["猫咪", "猫", "咪"]
    assert words_of_question("カタカナ") == ["カタ", "タカ", "カナ"]


def test_the_text_that_shares_the_rarest_words_is_the_nearest() -> None:
    assert best("Can I return a lamp within 30 days?", ENGLISH) == 0
    assert best("Where is the office in Lima?", ENGLISH) == 1
    assert best("glass", ENGLISH) == 2
    assert best("elephant", ENGLISH) is None
    assert best("", ENGLISH) is None
    assert by_words("x", ["", "?!"]) == [0.0, 0.0]
    assert by_words("x", []) == []


def test_chinese_japanese_and_korean_are_found() -> None:
    assert best("猫叫什么名字？", CHINESE) == 0
    assert best("猫", CHINESE) == 0
    assert best("北京明天天气怎么样？", CHINESE) == 1
    assert best("東京タワー", CHINESE) == 3
    assert best("한국어", CHINESE) == 4


def test_scores_are_those_of_the_formula() -> None:
    """Lucene's BM25: idf · tf / (tf + k1 · (1 - b + b · length / mean length)), reckoned here by itself."""
    texts = ["a b b", "b c", "c c c d"]
    mean = 3.0

    def score(tf: int, df: int, length: int) -> float:
        return math.log(1 + (3 - df + 0.5) / (df + 0.5)) * tf / (tf + 1.5 * (1 - 0.75 + 0.75 * length / mean))

    found = by_words("b d", texts)
    wanted = [score(2, 2, 3), score(1, 2, 2), score(1, 1, 4)]
    assert all(math.isclose(one, other, rel_tol=1e-5) for one, other in zip(found, wanted, strict=True))


def test_of_equal_scores_the_first_counts_and_the_last_bits_do_not() -> None:
    assert nearest([0.5, 0.700001, 0.7, 0.2, 0.1], 3, 0.2) == (Hit(1, 0.7), Hit(2, 0.7), Hit(0, 0.5))
    assert nearest([0.2], 3, 0.2) == ()
    assert nearest([], 3, 0.0) == ()


class Letters:
    """Counts the letters a and b."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[str, ...], Kind]] = []

    async def embed(self, texts: Sequence[str], kind: Kind = "passage", *, keep: bool = False, tenant: str = "") -> Any:
        self.asked.append((tuple(texts), kind))
        rows = [[one.count("a"), one.count("b")] for one in texts]
        found = numpy.array(rows, dtype=numpy.float32)
        return found / numpy.maximum(numpy.linalg.norm(found, axis=1, keepdims=True), 1e-9)

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        pass


def test_by_meaning_is_the_cosine_with_the_question() -> None:
    embedder = Letters()
    assert isinstance(embedder, Embedder)
    scores = asyncio.run(by_meaning("aa", ["a", "b", "ab"], embedder))
    assert [round(one, 4) for one in scores] == [1.0, 0.0, 0.7071]
    assert embedder.asked == [(("aa",), "question"), (("a", "b", "ab"), "passage")]
    assert asyncio.run(by_meaning("aa", [], embedder)) == []
