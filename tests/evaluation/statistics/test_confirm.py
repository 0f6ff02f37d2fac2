import numpy as np
import pytest

from tests.evaluation.statistics.study import sweep
from vllm_flow.evaluation.statistics import candidates, compare, confirm


def scores(number: int, *effects: float, prompts: int = 40) -> np.ndarray:
    return sweep("normal", np.random.default_rng(number), prompts, 2, effects)[0]


FIRST = compare(scores(0, 0.0, 1.0, 0.0, 2.0), baseline=0)


def test_candidates_are_the_winners_with_the_best_first():
    assert candidates(FIRST) == (3, 1)
    assert candidates(compare(-scores(0, 0.0, 1.0, 0.0, 2.0), baseline=0, higher_is_better=False)) == (3, 1)
    assert candidates(compare(scores(1, 0.0, 0.0), baseline=0)) == ()


def test_a_winner_that_wins_again_is_confirmed_and_one_that_does_not_is_not():
    lasting, lucky = confirm(FIRST, (3, 1), scores(7, 0.0, 2.0, 0.0))
    assert (lasting.point, lasting.verdict, lasting.fresh.verdict) == (3, "better, confirmed", "better")
    assert (lucky.point, lucky.verdict) == (1, "better at first, not confirmed")
    assert lucky.fresh.verdict == "no difference shown"
    assert confirm(FIRST, (3,), scores(7, 0.0, -2.0))[0].verdict == "better at first, not confirmed"


def test_too_few_fresh_answers_confirm_nothing():
    fresh = scores(7, 0.0, 2.0)
    fresh[1, 5:] = np.nan
    assert confirm(FIRST, (3,), fresh)[0].verdict == "too few prompts"


def test_only_winners_can_be_confirmed_and_each_needs_its_scores():
    with pytest.raises(ValueError, match=r"^points") as caught:
        confirm(FIRST, (2, 3), scores(7, 0.0, 0.0, 0.0))
    assert str(caught.value) == "points: [2] were not found better. Those that were: [3, 1]."
    with pytest.raises(ValueError, match=r"^fresh") as caught:
        confirm(FIRST, (3,), scores(7, 0.0, 0.0, 0.0))
    assert str(caught.value) == "fresh: there are scores of 3 points. There would be 2: of the baseline, then of [3]."


def test_the_best_of_equal_points_seldom_survives_its_second_run():
    generator, won, confirmed = np.random.default_rng(5), 0, 0
    for _ in range(300):
        first = compare(sweep("normal", generator, 10, 1, [0.0] * 4)[0], baseline=0, confidence=0.6)
        for point in candidates(first)[:1]:
            won += 1
            fresh = sweep("normal", generator, 10, 1, [0.0, 0.0])[0]
            confirmed += confirm(first, (point,), fresh)[0].verdict == "better, confirmed"
    assert won > 30
    assert confirmed < 0.4 * won  # of such winners a fifth is expected: half of what a confidence of 0.6 lets pass
