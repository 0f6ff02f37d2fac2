"""What follows the entropy, against the formulas of their sources."""

from __future__ import annotations

import math
import random

import pytest

from vllm_flow.core.moving import Now
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.schedules import ByEntropy, Edt

from .driving import driven

ENTROPIES = [random.Random(1).expovariate(0.6) for _ in range(1000)]


def test_edt_is_the_paper_s_formula() -> None:
    """T = T0 N^(theta / entropy), equation 2 of arXiv:2403.14541."""
    found = driven(Edt(t0=1.3, theta=0.7), [{"entropy": entropy} for entropy in ENTROPIES])
    wanted = [1.3 * math.exp(math.log(0.8) * 0.7 / entropy) for entropy in ENTROPIES]
    assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    assert Edt(1.3, 0.7).at(Now(entropy=0.0)) == 0.0  # its limit: greedy where the model is sure
    assert Edt(1.3, 0.7).at(Now(entropy=0.7)) == pytest.approx(1.3 * 0.8)


def test_a_value_by_entropy_is_llama_cpp_s_formula() -> None:
    """min + (max - min) * (entropy / largest entropy)^exponent; the largest is `at_nats` here, and no vocabulary's."""
    found = driven(ByEntropy(0.4, 1.8, 5.0, 1.7), [{"entropy": entropy} for entropy in ENTROPIES])
    wanted = [0.4 + (1.8 - 0.4) * math.pow(min(5.0, entropy) / 5.0, 1.7) for entropy in ENTROPIES]
    assert found == pytest.approx(wanted)


def test_a_value_may_fall_with_the_entropy() -> None:
    assert driven(ByEntropy(0.95, 0.5, 2.0), [{"entropy": nats} for nats in (0.0, 1.0, 2.0, 9.0)]) == pytest.approx(
        [0.95, 0.725, 0.5, 0.5]
    )


def test_with_a_hysteresis_small_changes_are_not_made_but_add_up() -> None:
    made = ByEntropy(0.0, 1.0, 1.0, hysteresis=0.1)
    found = driven(made, [{"entropy": nats} for nats in (0.5, 0.55, 0.59, 0.61, 0.55, 0.5)])
    assert found == pytest.approx([0.5, 0.5, 0.5, 0.61, 0.61, 0.5])


@pytest.mark.parametrize(
    ("parameter", "written", "words"),
    [
        ("top_p", {"edt": {"t0": 1.0, "theta": 1.0}}, "'edt' steers temperature, and nothing else. Write it there."),
        ("top_p", {"entropy": {"from": 0.5, "to": 1.5}}, "'entropy' comes to 1.5. top_p takes a number above 0 and at most 1."),
        ("min_p", {"entropy": {"from": 0.2, "to": 0.0}}, None),
        ("temperature", {"edt": {"t0": 1.0, "theta": 1.0}}, None),
    ],
)  # fmt: skip
def test_where_they_may_stand(parameter: str, written: object, words: str | None) -> None:
    assert [one.problem for one in SamplingPlan.option_problems({parameter: written})] == ([words] if words else [])
