"""A penalty that follows the share of repeated n-grams, and an end that comes near a number of tokens."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.schedules import Repetition, TargetLength
from vllm_flow.schedules.repetition import repeated

from .driving import driven, refused


def seq_rep(tokens: Sequence[int], n: int) -> float | None:
    """Welleck 2020: 1 - |unique n-grams| / |n-grams|, counted one by one."""
    seen, grams, again = set[tuple[int, ...]](), 0, 0
    for place in range(len(tokens) - n + 1):
        gram = tuple(tokens[place : place + n])
        again += gram in seen
        seen.add(gram)
        grams += 1
    return again / grams if grams else None


def test_the_share_of_repeated_n_grams_is_that_of_the_paper() -> None:
    rng = random.Random(4)
    for _ in range(300):
        tokens, n = rng.choices(range(4), k=rng.randrange(40)), rng.randint(1, 4)
        assert repeated(tokens, n) == pytest.approx(seq_rep(tokens, n))


def test_the_penalty_is_the_integral_of_what_repeats_too_much() -> None:
    rng = random.Random(9)
    said = [rng.randrange(5) for _ in range(150)] + list(range(400)) + [7] * 60
    made = Repetition(low=1.0, high=1.5, target=0.1, gain=0.02, n=2, window=24)
    found = driven(made, [{"output": said[:place]} for place in range(len(said))])
    value, wanted = 1.0, []
    for place in range(len(said)):
        share = seq_rep(said[max(0, place - 24) : place], 2)
        value = value if share is None else min(1.5, max(1.0, value + 0.02 * (share - 0.1)))
        wanted.append(value)
    assert found == pytest.approx(wanted)
    assert (max(found[:150]), found[540], found[-1]) == (1.5, 1.0, 1.5)  # up, down again without a repeat, up


def test_what_is_too_little_to_change_is_kept_until_it_is_enough() -> None:
    made = Repetition(0.0, 1.0, target=0.0, gain=0.01, n=1, window=2, hysteresis=0.028)
    found = driven(made, [{"output": (5, 5)}] * 14)  # each token adds 0.005
    assert found[:6] == [pytest.approx(0.005)] * 6
    assert found[6:12] == [pytest.approx(0.035)] * 6
    assert found[12:] == [pytest.approx(0.065)] * 2


@pytest.mark.parametrize(
    ("parameter", "words"),
    [("temperature", "'repetition' steers dry_multiplier, frequency_penalty, presence_penalty, repetition_penalty, and nothing else. Write it there."),
     ("repetition_penalty", None), ("dry_multiplier", None)],
)  # fmt: skip
def test_it_steers_a_penalty(parameter: str, words: str | None) -> None:
    found = list(SamplingPlan.option_problems({parameter: {"repetition": {"low": 1.0, "high": 1.3}}}))
    assert [one.problem for one in found] == ([words] if words else [])


def test_a_window_without_two_n_grams_is_refused() -> None:
    assert refused(Repetition(0, 1, n=4, window=4)) == ["window: 4 tokens hold no two n-grams of 4. Raise it."]


def test_an_end_bias_rises_along_a_line_through_the_wanted_length() -> None:
    found = driven(TargetLength(tokens=100, slope=0.25, low=-6.0, high=3.0), [{}] * 1000)
    assert found == [min(3.0, max(-6.0, (token - 100) / 4)) for token in range(1000)]
    assert [one.problem for one in SamplingPlan.option_problems({"min_p": {"target_length": {"tokens": 9}}})] == [
        "'target_length' steers end_bias, and nothing else. Write it there."
    ]
