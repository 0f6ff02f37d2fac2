import itertools

import numpy as np
import pytest
from scipy.stats import permutation_test

from tests.evaluation.statistics.study import KINDS, sweep
from vllm_flow.evaluation.statistics import Comparisons, compare


def normal(points: int, prompts: int, seeds: int = 1, *, number: int = 0, effect: float = 0.0) -> np.ndarray:
    return sweep("normal", np.random.default_rng(number), prompts, seeds, [effect * point for point in range(points)])[
        0
    ]


def exact_p(point: np.ndarray, baseline: np.ndarray) -> float:
    found = permutation_test(
        (point, baseline),
        lambda a, b: abs(float(np.mean(a - b))),
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="greater",
        vectorized=False,
    )
    return float(found.pvalue)


def numbers(found: Comparisons) -> dict[int, tuple]:
    return {
        one.point: (one.difference, *(one.interval or ()), one.p_value, one.smallest_detectable)
        for one in found.comparisons
    }


@pytest.mark.parametrize("prompts", [8, 10])
def test_one_comparison_has_the_p_value_of_scipys_exact_permutation_test(prompts):
    for number in range(4):
        scores = normal(2, prompts, number=number, effect=0.8)
        expected = exact_p(scores[1, :, 0], scores[0, :, 0])
        assert compare(scores, baseline=0).comparisons[0].p_value == pytest.approx(expected, abs=1e-12)


def test_the_interval_ends_where_that_test_begins_to_reject():
    point, baseline = normal(2, 9, number=3, effect=0.5)[:, :, 0]
    low, high = compare([point[:, None], baseline[:, None]], baseline=1).comparisons[0].interval
    step = (high - low) / 1_000
    for inside, outside in ((low + step, low - step), (high - step, high + step)):
        assert exact_p(point - inside, baseline) > 0.05 >= exact_p(point - outside, baseline)


def test_p_values_of_several_points_are_those_of_the_largest_statistic_over_all_flips():
    scores = normal(4, 8, number=5, effect=0.6)
    differences = (scores[1:] - scores[0])[:, :, 0]
    found = [one.p_value for one in compare(scores, baseline=0).comparisons]

    def statistic(values: np.ndarray) -> float:
        return abs(values.mean()) / (values.std(ddof=1) / np.sqrt(len(values)))

    for this, own in enumerate(differences):
        as_far = 0
        for signs in itertools.product((1, -1), repeat=8):
            flipped = [
                signs * (values - (0 if other == this else values.mean())) for other, values in enumerate(differences)
            ]
            as_far += max(map(statistic, flipped)) >= statistic(own) - 1e-9
        assert found[this] == pytest.approx(as_far / 2**8)


def test_no_p_value_is_0_however_large_the_difference():
    assert compare(normal(2, 40, effect=100.0), baseline=0, draws=1_000).comparisons[0].p_value == 1 / 1_000


@pytest.mark.parametrize("kind", KINDS)
def test_interval_p_value_and_verdict_never_contradict_each_other(kind):
    verdicts = set()
    for number in range(60):
        generator = np.random.default_rng(number)
        scores, _ = sweep(kind, generator, (8, 12, 25)[number % 3], 2, [0, 0, 1, -1.5])
        for one in compare(scores, baseline=0, draws=1_000, confidence=(0.9, 0.95, 0.99)[number % 3]).comparisons:
            low, high = one.interval
            allowed = 1 - (0.9, 0.95, 0.99)[number % 3]
            expected = "better" if low > 1e-9 else "worse" if high < -1e-9 else "no difference shown"
            assert one.verdict == expected
            assert (one.p_value <= allowed + 1e-9) == (expected != "no difference shown")
            assert low <= one.difference <= high
            verdicts.add(one.verdict)
    assert verdicts == {"better", "worse", "no difference shown"}


@pytest.mark.parametrize("prompts", [9, 30])
def test_results_do_not_depend_on_the_order_of_the_points(prompts):
    scores, order = normal(6, prompts, 3, effect=0.2), np.array([4, 2, 0, 5, 1, 3])
    straight = numbers(compare(scores, baseline=2))
    shuffled = numbers(compare(scores[order], baseline=int(np.flatnonzero(order == 2)[0])))
    assert {int(order[point]) for point in shuffled} == set(straight)
    for point, found in shuffled.items():
        assert found == pytest.approx(straight[int(order[point])], rel=1e-9)


def test_nor_on_the_order_of_seeds_nor_below_20_prompts_on_that_of_prompts():
    scores = normal(3, 9, 3, effect=0.2)
    expected = numbers(compare(scores, baseline=0))
    for other in (scores[:, ::-1], scores[:, :, ::-1]):
        for point, found in numbers(compare(other, baseline=0)).items():
            assert found == pytest.approx(expected[point], rel=1e-9)


def test_the_same_scores_and_seed_give_the_same_result_and_a_unit_scales_it():
    scores = normal(3, 40, 2, effect=0.3)
    assert compare(scores, baseline=0) == compare(scores, baseline=0)
    assert compare(scores, baseline=0) != compare(scores, baseline=0, seed=1)
    for first, scaled in zip(
        compare(scores, baseline=0).comparisons, compare(1000 * scores + 7, baseline=0).comparisons, strict=True
    ):
        assert scaled.interval == pytest.approx([1000 * end for end in first.interval])
        assert scaled.p_value == first.p_value


def test_more_points_make_intervals_wider_and_a_lower_score_can_be_the_better_one():
    scores = normal(8, 20, 2, effect=0.5)
    few, many = compare(scores[[0, 7]], baseline=0), compare(scores, baseline=0)
    assert many.of(7).interval.low < few.of(1).interval.low < few.of(1).interval.high < many.of(7).interval.high
    assert many.of(7).verdict == "better"
    assert compare(scores, baseline=0, higher_is_better=False).of(7).verdict == "worse"
    with pytest.raises(KeyError):
        many.of(0)


def test_the_method_says_which_flips_were_taken():
    assert compare(normal(2, 8), baseline=0).method == (
        "paired by prompt and seed; seeds averaged within prompts; all 128 sign flips, largest t over the points."
    )
    assert " 3000 drawn sign flips," in compare(normal(2, 20), baseline=0, draws=3_000).method
    assert compare(np.eye(2, 9)[:, :, None], baseline=0).method.endswith(
        "; two pseudo-prompts, scores being 0 or 1: with few prompts intervals cover more than they promise."
    )


def test_all_that_is_wrong_with_the_arguments_is_said_at_once():
    with pytest.raises(ValueError, match=r"^scores") as caught:
        compare([[1.0, np.inf]], baseline=0, confidence=95, draws=10)
    assert str(caught.value) == (
        "scores: the shape is (1, 2). It is [points, prompts, seeds], each at least 1.\n"
        "scores: 1 are infinite. Give finite numbers, and NaN for an answer without a score.\n"
        "confidence: 95 does not fit. It is at least 0.5 and below 1, such as 0.95.\n"
        "draws: 10 are too few. Take 1000 or more, or limits depend on the seed."
    )
    with pytest.raises(ValueError, match=r"^baseline") as caught:
        compare(normal(2, 8), baseline=2)
    assert str(caught.value) == "baseline: there is no point 2. There are 0 to 1."
