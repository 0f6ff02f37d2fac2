"""Sweeps that say little, and must not be made to say more."""

import numpy as np
import pytest

from tests.evaluation.statistics.study import sweep
from vllm_flow.evaluation.statistics import Interval, compare


def normal(points: int, prompts: int, seeds: int = 1) -> np.ndarray:
    return sweep("normal", np.random.default_rng(0), prompts, seeds, [0.0] * points)[0]


def test_below_8_prompts_there_is_no_interval_and_the_reason_is_said():
    found = compare(normal(2, 7, 5), baseline=0)
    one = found.comparisons[0]
    assert (one.interval, one.p_value, one.smallest_detectable) == (None, None, None)
    assert one.verdict == "too few prompts"
    assert one.notes == ("No interval: 7 prompts have pairs, and below 8 one odd prompt would decide it.",)
    assert found.points[0].notes == ("No interval: 7 prompts have scores, and below 8 one odd prompt would decide it.",)
    assert isinstance(one.difference, float)


def test_one_prompt_and_one_point_are_answered_too():
    one = compare(normal(2, 1, 5), baseline=0).comparisons[0]
    assert one.notes == ("No interval: 1 prompt has pairs, and below 8 one odd prompt would decide it.",)
    alone = compare(normal(1, 20), baseline=0)
    assert alone.comparisons == ()
    assert alone.points[0].interval.low < alone.points[0].mean < alone.points[0].interval.high


def test_equal_scores_show_no_difference_and_have_no_interval():
    scores = normal(3, 30)
    scores[1] = scores[0]
    one, other = compare(scores, baseline=0).comparisons
    assert (one.difference, one.interval, one.p_value, one.verdict) == (0.0, None, 1.0, "no difference shown")
    assert one.notes == ("No interval: all 30 prompts give the same number, so nothing says how others would vary.",)
    assert other.interval is not None


def test_the_same_difference_everywhere_is_a_difference_without_an_interval():
    scores = normal(3, 8)
    scores[1] = scores[0] + 0.1  # not the same in the last bits
    one = compare(scores, baseline=0).comparisons[0]
    assert (one.interval, one.smallest_detectable, one.verdict) == (None, None, "better")
    assert one.p_value == 1 / 128


def test_equal_scores_of_0_and_1_still_have_an_interval():
    one = compare(np.ones((2, 20, 1)), baseline=0)
    assert one.comparisons[0].interval.low == pytest.approx(-one.comparisons[0].interval.high)
    assert 0.05 < one.comparisons[0].interval.high < 0.25
    assert one.comparisons[0].verdict == "no difference shown"
    assert one.points[0].interval.high == 1
    assert 0.7 < one.points[0].interval.low < 0.95


def test_missing_answers_are_counted_and_said():
    scores = normal(3, 20, 2)
    scores[1, 0, 0] = scores[0, 1, 1] = np.nan
    scores[1, 5] = np.nan
    found = compare(scores, baseline=0)
    one, two = found.comparisons
    assert (one.pairs, one.pairs_left_out, one.num_prompts, one.num_seeds) == (36, 4, 19, 2)
    assert one.notes == ("4 of 40 pairs are left out: an answer has no score.",)
    assert (two.pairs_left_out, two.num_prompts) == (1, 20)
    assert (found.points[1].answers, found.points[1].missing, found.points[1].num_prompts) == (37, 3, 19)
    assert found.points[1].notes == ("3 of 40 answers have no score.",)
    assert one.difference == pytest.approx(np.nanmean(np.nanmean((scores[1] - scores[0])[np.r_[0:5, 6:20]], axis=1)))


def test_a_prompt_without_pairs_is_as_if_it_were_not_there():
    scores = normal(2, 12)
    expected = compare(np.delete(scores, 4, axis=1), baseline=0).comparisons[0]
    scores[1, 4] = np.nan
    found = compare(scores, baseline=0).comparisons[0]
    assert found.interval == pytest.approx(expected.interval)
    assert found.p_value == pytest.approx(expected.p_value)


def test_a_point_without_any_answer_costs_the_others_nothing():
    scores = normal(3, 20)
    expected = compare(scores[:2], baseline=0).comparisons[0]
    scores[2] = np.nan
    found = compare(scores, baseline=0)
    assert found.of(1) == expected
    assert (found.of(2).difference, found.of(2).interval, found.of(2).verdict) == (None, None, "too few prompts")
    assert found.of(2).notes == (
        "20 of 20 pairs are left out: an answer has no score.",
        "No interval: 0 prompts have pairs, and below 8 one odd prompt would decide it.",
    )
    assert found.points[2].mean is None
    nothing = compare(np.full((2, 9, 1), np.nan), baseline=0)
    assert [one.verdict for one in nothing.comparisons] == ["too few prompts"]


def test_a_confidence_that_so_few_prompts_cannot_give_is_refused_by_name():
    one = compare(normal(2, 8), baseline=0, confidence=0.999).comparisons[0]
    assert (one.interval, one.smallest_detectable, one.verdict) == (None, None, "no difference shown")
    assert one.notes == ("No interval: 8 prompts are too few for a confidence of 0.999.",)


def test_an_interval_from_few_prompts_that_differ_is_called_rough():
    scores = normal(2, 30)
    scores[1] = scores[0]
    scores[1, :3] += 1.0
    one = compare(scores, baseline=0).comparisons[0]
    assert one.notes == ("Rough interval: only 3 of 30 prompts differ. The p-value holds.",)
    assert one.interval != Interval(one.difference, one.difference)
