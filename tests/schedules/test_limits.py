"""What all controllers promise: within their bounds, never faster than their step, still where the signal is."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping
from typing import Any

import pytest

from vllm_flow.core.moving import Moving
from vllm_flow.schedules import Budget, ByEntropy, Edt, Feedback, Mirostat, Repetition, TargetLength
from vllm_flow.schedules.limits import limited

from .driving import driven, refused

SEQUENCES, LENGTH = 200, 80
CONTROLLERS: list[tuple[Any, float | None]] = [
    (Edt(1.2, 0.9, low=0.1, high=1.1, max_step=0.07), 0.07),
    (Edt(1.5, 2.0, base=0.6, low=0.3, hysteresis=0.05), None),
    (ByEntropy(0.5, 1.5, at_nats=3.0, exponent=0.7, max_step=0.11, hysteresis=0.02), 0.11),
    (ByEntropy(0.99, 0.6), None),
    (Mirostat(2.0, rate=0.8, low=0.0005, high=0.3, max_step=0.01, hysteresis=0.002), 0.01),
    (Mirostat(4.0, rate=1.0), None),
    (Repetition(1.0, 1.6, gain=0.2, window=16, max_step=0.015, hysteresis=0.003), 0.015),
    (Repetition(0.0, 0.8, target=0.3, n=2), None),
    (TargetLength(40, slope=0.5, low=-8.0, high=4.0), 0.5),
    (TargetLength(40, slope=0.5, low=-8.0, high=4.0, hysteresis=1.2), 1.5),
    (Feedback(0.7, 0.3, 0.2, 1.1, target=0.4, max_step=0.08, hysteresis=0.1), 0.08),
    (Feedback(0.7, -0.9, 0.2, 1.1), None),
    (Budget(most=300, tokens=90_000, share=0.2, least=2), None),
]


def a_signal(rng: random.Random, said: list[int], used: list[int]) -> dict[str, Any]:
    said.append(rng.choice((rng.randrange(6), rng.randrange(1000))))
    for place in (0, 1):
        used[place] += rng.randrange(200)
    return {
        "entropy": rng.choice((None, 0.0, rng.expovariate(0.5), rng.random() * 1e-6, 11.0)),
        "surprise": rng.choice((None, 0.0, rng.expovariate(0.5), 40.0)),
        "feedback": rng.choice((None, -1.0, 1.0, rng.uniform(-1, 1))),
        "output": tuple(said),
        "used_prompt_tokens": used[0],
        "used_answer_tokens": used[1],
    }


@pytest.mark.parametrize(("made", "max_step"), CONTROLLERS, ids=lambda one: getattr(type(one), "__name__", None))
def test_no_sequence_of_signals_leads_out_of_the_bounds_or_further_than_a_step(
    made: Any, max_step: float | None
) -> None:
    low, high = made.bounds
    rng = random.Random(3)
    assert refused(made) == []
    for _ in range(SEQUENCES):
        said, used = list[int](), [0, 0]
        values = driven(made, [a_signal(rng, said, used) for _ in range(LENGTH)])
        assert all(low <= one <= high for one in values)
        assert max_step is None or max(abs(b - a) for a, b in itertools.pairwise(values)) <= max_step + 1e-12


SAID = {"output": (1, 2, 3) * 9}
CONSTANT: list[tuple[Any, Mapping[str, Any], float]] = [
    (Edt(1.2, 0.9, max_step=0.05), {"entropy": 2.0}, 1.2 * 0.8**0.45),
    (Edt(1.2, 0.9, low=0.25), {"entropy": 0.0}, 0.25),
    (ByEntropy(0.5, 1.5, at_nats=4.0, exponent=2.0, max_step=0.03), {"entropy": 3.0}, 0.5 + 0.5625),
    (Mirostat(2.0, rate=0.5), {"surprise": 2.0 * math.log(2)}, 2.0**-4),
    (Mirostat(2.0, low=0.001, max_step=0.002), {"surprise": 0.0}, 0.001),
    (Mirostat(2.0, high=0.4), {"surprise": 9.0}, 0.4),
    (Repetition(1.0, 1.4, max_step=0.01), SAID, 1.4),
    (Repetition(1.0, 1.4), {"output": tuple(range(27))}, 1.0),
    (TargetLength(30, slope=1.0, high=5.0), {}, 5.0),
    (TargetLength(30, slope=1.0, high=5.0, hysteresis=2.5), {}, 5.0),
    (Feedback(0.5, 0.2, 0.0, 1.0, max_step=0.02), {"feedback": 0.9}, 1.0),
    (Feedback(0.5, 0.2, 0.0, 1.0, target=0.9), {"feedback": 0.9}, 0.5),
    (Feedback(0.5, 0.2, 0.0, 1.0, hysteresis=0.3), {"feedback": 0.25}, 0.5),
    (Budget(most=50, tokens=1000, share=0.1), {"used_prompt_tokens": 300, "used_answer_tokens": 400}, 30.0),
]


@pytest.mark.parametrize(
    ("made", "signal", "wanted"), CONSTANT, ids=lambda one: getattr(type(one), "__name__", "")[:14]
)
def test_a_constant_signal_leads_to_one_value(made: Any, signal: Mapping[str, Any], wanted: float) -> None:
    last = driven(made, [signal] * 600)[-50:]
    assert last == pytest.approx([wanted] * 50)


@pytest.mark.parametrize("made", [one for one, _ in CONTROLLERS], ids=lambda one: type(one).__name__)
def test_without_its_signal_a_controller_stays_where_it_begins(made: Any) -> None:
    values = driven(made, [{}] * 9)
    if not isinstance(made, TargetLength):  # its signal is the token's index
        assert values == [values[0]] * 9
    assert Moving.of(made).needs <= {"entropy", "surprise"}


@pytest.mark.parametrize(
    ("wanted", "before", "limits", "found"),
    [
        (0.5, None, {}, 0.5),
        (5.0, None, {"max_step": 0.1}, 1.0),
        (0.9, 0.5, {"max_step": 0.1}, 0.6),
        (0.1, 0.5, {"max_step": 0.1}, 0.4),
        (0.55, 0.5, {"hysteresis": 0.1}, 0.5),
        (0.6, 0.5, {"hysteresis": 0.05, "max_step": 0.07}, 0.57),
        (0.5, 3.0, {"max_step": 0.1}, 1.0),
        (1.0, 3.0, {"hysteresis": 9.0}, 1.0),
    ],
)
def test_the_rule_is_bounds_then_hysteresis_then_step(
    wanted: float, before: float | None, limits: Mapping[str, float], found: float
) -> None:
    assert limited(wanted, before, 0.0, 1.0, **limits) == pytest.approx(found)


@pytest.mark.parametrize(
    "made",
    [
        Edt(1.0, 1.0, low=1.5, high=0.5), Mirostat(3.0, low=0.9, high=0.5), Repetition(1.5, 0.5),
        TargetLength(9, low=1.5, high=0.5), Feedback(1.0, 0.1, 1.5, 0.5),
    ],
    ids=lambda one: type(one).__name__,
)  # fmt: skip
def test_bounds_that_cross_are_refused(made: Any) -> None:
    low = "0.9" if isinstance(made, Mirostat) else "1.5"
    assert refused(made)[0] == f"low: {low} is above high, which is 0.5. Lower it."
