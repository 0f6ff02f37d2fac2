"""Several samples of a prompt: against every draw there is, counted out one by one."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from itertools import combinations
from random import Random

import pytest

from vllm_flow.core.answers import Marks
from vllm_flow.metrics import MajorityAt, Mean, PassAt
from vllm_flow.metrics.samples import pass_at
from vllm_flow.testing import check_metric


def marks(*votes: tuple[str | None, bool]) -> Marks:
    return Marks(tuple(right for _, right in votes), tuple(said for said, _ in votes))


def counted(votes: list[tuple[str | None, bool]], k: int) -> Fraction:
    """maj@k, over all draws of k and all ways to break a tie."""
    won, draws = Fraction(0), list(combinations(votes, k))
    for draw in draws:
        counts = Counter(said for said, _ in draw if said is not None)
        top = [said for said, count in counts.items() if count == max(counts.values())]
        won += Fraction(sum(dict(votes)[said] for said in top), len(top)) if top else 0
    return won / len(draws)


def test_pass_at_k_is_the_share_of_draws_with_a_right_one() -> None:
    for n in range(1, 8):
        for right in range(n + 1):
            for k in range(1, n + 1):
                draws = list(combinations([True] * right + [False] * (n - right), k))
                assert pass_at(n, right, k) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


def test_pass_at_k_is_stable_where_binomials_overflow() -> None:
    exact = 1 - Fraction(math.comb(99_900, 1_000), math.comb(100_000, 1_000))
    assert pass_at(100_000, 100, 1_000) == pytest.approx(float(exact), rel=1e-9)


def test_what_chen_et_al_compute_for_two_hundred_samples() -> None:
    assert [check_metric(PassAt(k), correct=marks(*[("x", place < 20) for place in range(200)])) for k in (1, 10)] == [
        pytest.approx(0.1),
        pytest.approx(1 - math.comb(180, 10) / math.comb(200, 10)),
    ]


def test_maj_at_k_is_exact_with_ties_silence_and_any_number_of_answers() -> None:
    random = Random(5)
    for _ in range(150):
        right = {said: random.random() < 0.4 for said in "abcd"} | {None: False}
        votes = [(said, right[said]) for said in random.choices(["a", "b", "c", "d", None], k=random.randint(1, 8))]
        k = random.randint(1, len(votes))
        assert check_metric(MajorityAt(k), correct=marks(*votes)) == pytest.approx(float(counted(votes, k)), abs=1e-12)


def test_a_majority_of_one_is_the_mean_and_of_all_is_the_vote() -> None:
    votes = marks(("7", True), ("8", False), ("8", False), ("7", True), ("9", False))
    assert (MajorityAt(1).score(votes), Mean().score(votes)) == (0.4, 0.4)
    assert MajorityAt(5).score(votes) == 0.5  # two against two
    assert MajorityAt(2).score(marks((None, False), (None, False))) == 0


def test_a_hundred_samples_with_a_hundred_answers_take_no_time() -> None:
    votes = [(str(place), place == 0) for place in range(100)]
    assert MajorityAt(50).score(marks(*votes)) == pytest.approx(1 / 100)


def test_too_few_samples_have_no_score_and_those_without_a_value_are_none() -> None:
    few = Marks((True, None, False), ("a", "b", "c"))
    assert [metric.score(few) for metric in (PassAt(3), MajorityAt(3))] == [None, None]
    assert (PassAt(2).score(few), MajorityAt(2).score(few), Mean().score(few)) == (1.0, 0.5, 0.5)
    assert Mean().score(Marks((None,), ("a",))) is None


def test_a_share_is_neither_right_nor_wrong() -> None:
    for metric in (PassAt(1), MajorityAt(1)):
        with pytest.raises(ValueError, match="neither") as caught:
            metric.score(Marks((0.5,), ("a",)))
        assert str(caught.value) == "0.5 is neither right nor wrong. Name a metric that gives true or false."
