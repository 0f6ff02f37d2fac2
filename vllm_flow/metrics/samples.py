"""Samples: what several answers to one prompt are worth together, given which of them another metric calls right."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from vllm_flow.core.answers import Marks
from vllm_flow.core.errors import shown
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import metric


@metric("samples/mean", higher_is_better=True)
@dataclass(frozen=True)
class Mean:
    """avg@n: the mean over the samples of a prompt, those without a value left out."""

    def score(self, correct: Marks) -> float | None:
        return math.fsum(correct.known) / len(correct.known) if correct.known else None


@metric("samples/pass_at", higher_is_better=True)
@dataclass(frozen=True)
class PassAt:
    """pass@k: the probability that of k of the samples, drawn without putting back, one or more are right.

    The unbiased estimator of Chen et al. 2021, arXiv:2107.03374: 1 - C(n-c, k) / C(n, k) with c right ones of n. It
    does not apply to a prompt with fewer than k samples that have a value.
    """

    k: Annotated[int, at_least(1)] = 1

    def score(self, correct: Marks) -> float | None:
        n, right = len(correct.known), sum(_is_right(value) for value in correct.known)
        return pass_at(n, right, self.k) if n >= self.k else None


def pass_at(n: int, right: int, k: int) -> float:
    """As a product, since the binomials of large n overflow: 1 - Π (1 - k/i) for i from n-c+1 to n."""
    if n - right < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - right + 1, n + 1))


def _is_right(value: float) -> bool:
    if value not in (0, 1):
        raise ValueError(f"{shown(value)} is neither right nor wrong. Name a metric that gives true or false.")
    return value == 1


@metric("samples/majority_at", higher_is_better=True)
@dataclass(frozen=True)
class MajorityAt:
    """maj@k: the probability that the answer most of k samples give is right (Wang et al. 2022, arXiv:2203.11171).

    Exact, over all ways to draw k of the samples without putting back, and over all ways to break a tie, each equally
    probable. Votes are for what the other metric reads in a text: the number, the letter. A sample that says nothing
    does not vote, and if none of the k votes, that is wrong. It does not apply to a prompt with fewer than k samples
    that have a value.
    """

    k: Annotated[int, at_least(1)] = 1

    def score(self, correct: Marks) -> float | None:
        votes = [(said, value) for said, value in zip(correct.said, correct.values, strict=True) if value is not None]
        if len(votes) < self.k:
            return None
        counts = Counter(said for said, _ in votes)
        silent = counts.pop(None, 0)
        right: dict[str | None, list[bool]] = defaultdict(list)
        for said, value in votes:
            right[said].append(_is_right(float(value)))
        expected = Fraction(0)
        for said, count in counts.items():
            if share := Fraction(sum(right[said]), len(right[said])):
                others = [other for name, other in counts.items() if name != said]
                expected += share * wins(count, others, silent, self.k)
        return float(expected)


def wins(own: int, others: Sequence[int], silent: int, k: int) -> Fraction:
    """How probable it is that an answer with `own` votes has most of k, a tie shared; `silent` samples do not vote."""
    won = Fraction(0)
    for mine in range(1, min(own, k) + 1):
        for tied, ways in enumerate(_ways(others, silent, k - mine, mine)):
            won += Fraction(math.comb(own, mine) * ways, 1 + tied)
    return won / math.comb(own + sum(others) + silent, k)


def _ways(others: Sequence[int], silent: int, rest: int, most: int) -> list[int]:
    """In how many ways `rest` samples are drawn so that no other answer has over `most`; by how many have just that.

    The coefficients of x^rest y^tied in C(silent, ·) times, for each other answer of c votes, Σ_{s<most} C(c, s) x^s +
    C(c, most) x^most y.
    """
    ties = rest // most
    table = [[math.comb(silent, drawn)] + [0] * ties for drawn in range(rest + 1)]
    for count in others:
        new = [[0] * (ties + 1) for _ in range(rest + 1)]
        for drawn in range(rest + 1):
            for tied, ways in enumerate(table[drawn]):
                for more in range(min(count, most, rest - drawn) + 1 if ways else 0):
                    new[drawn + more][tied + (more == most)] += ways * math.comb(count, more)
        table = new
    return table[rest]
