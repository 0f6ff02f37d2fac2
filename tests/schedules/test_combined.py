"""Combinations against plain arithmetic at a thousand places, and what may not be combined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from vllm_flow.core.moving import Moving, Now
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.schedule import Course
from vllm_flow.schedules import (
    Clip,
    Cosine,
    Cyclic,
    Feedback,
    Linear,
    Mirostat,
    Product,
    Repetition,
    Step,
    Sum,
    Then,
    WarmUp,
)

from .driving import driven, refused


def fall(x: float) -> float:
    return max(0.2, 1.0 - 0.8 * x / 600)


def ripple(x: float) -> float:
    return 0.1 * (1 - 2 * abs((x / 40) % 1 - 0.5))


FALL, RIPPLE = Linear(1.0, 0.2, 600), Cyclic(0.0, 0.1, 40)
COMBINED: list[tuple[Any, Callable[[float], float]]] = [
    (Sum((FALL, RIPPLE, 0.25)), lambda x: fall(x) + ripple(x) + 0.25),
    (Product((FALL, 1.5, RIPPLE)), lambda x: fall(x) * 1.5 * ripple(x)),
    (Clip(FALL, 0.4, 0.9), lambda x: sorted((0.4, fall(x), 0.9))[1]),
    (Clip(FALL, high=0.5), lambda x: min(0.5, fall(x))),
    (Then(FALL, RIPPLE, 250), lambda x: fall(x) if x < 250 else ripple(x - 250)),
    (Then(FALL, RIPPLE, 99.5), lambda x: fall(x) if x < 99.5 else ripple(x - 100)),
    (WarmUp(0.8, 200), lambda x: 0.8 * min(1.0, x / 200)),
    (
        WarmUp(1.0, 100, 0.5, FALL),
        lambda x: 0.5 + 0.5 * x / 100 if x < 100 else fall(x - 100),
    ),
    (
        Clip(Sum((Product((FALL, 2.0)), Then(RIPPLE, 0.3, 500))), 0.5, 1.5),
        lambda x: min(1.5, max(0.5, 2 * fall(x) + (ripple(x) if x < 500 else 0.3))),
    ),
]


@pytest.mark.parametrize(("made", "formula"), COMBINED, ids=lambda one: getattr(type(one), "__name__", None))
def test_a_combination_is_what_its_parts_say_at_a_thousand_places(made: Any, formula: Callable[[float], float]) -> None:
    bounds = made.bounds
    for place, value in enumerate(driven(made, [{}] * 1000)):
        assert value == pytest.approx(formula(place), abs=1e-9), place
        assert bounds[0] - 1e-12 <= value <= bounds[1] + 1e-12


@pytest.mark.parametrize(
    ("made", "bounds"),
    [
        (Sum((Linear(1, 3, 9), Linear(-1, 1, 9))), (0.0, 4.0)),
        (Product((Linear(-1, 3, 9), Linear(-2, 1, 9))), (-6.0, 3.0)),
        (Clip(Linear(0, 3, 9), 1, 2), (1.0, 2.0)),
        (Clip(Linear(0, 3, 9), 5, 7), (5.0, 5.0)),
        (Then(Linear(0, 3, 9), 5.0, 4), (0.0, 5.0)),
        (WarmUp(2.0, 9, 0.5), (0.5, 2.0)),
    ],
)
def test_the_bounds_of_a_combination_come_from_those_of_its_parts(made: Any, bounds: tuple[float, float]) -> None:
    assert made.bounds == bounds


def test_what_stands_in_a_combination_keeps_a_state_of_its_own() -> None:
    """Two controllers side by side go on as each would alone, and one that comes second begins at its beginning."""
    one, other = Mirostat(2.0, rate=0.5), Mirostat(5.0)
    signals = [{"surprise": nats} for nats in (1.0, 0.2, 3.0, 2.0, 0.0, 4.0)]
    both = driven(Sum((one, Product((other, 2.0)))), signals)
    apart = [a + 2 * b for a, b in zip(driven(one, signals), driven(other, signals), strict=True)]
    assert both == pytest.approx(apart)
    later = driven(Then(0.0, one, 2), signals)
    assert later == [0.0, 0.0, *driven(one, signals[2:])]


def test_what_a_controller_found_out_is_told_through_a_combination_and_of_each_parameter() -> None:
    """Of the ids 5, 5, 5 two thirds are repeated, and of their pairs one half."""
    one, pairs = ({"repetition": {"low": 0.0, "high": 1.0, "n": n, "window": 8}} for n in (1, 2))
    for combined in ({"clip": {"of": one, "high": 0.5}}, {"sum": [0.1, one]}, {"product": [one, 0.5]},
                     {"then": {"first": one, "next": 0.5, "after": 9}}, {"then": {"first": 0.5, "next": one, "after": 2}},
                     {"warmup": {"to": 0.1, "over": 2, "then": one}}):  # fmt: skip
        plan = SamplingPlan().changed({"presence_penalty": combined})
        course = Course(plan.schedule())
        course.next(3, (5, 5, 5))
        assert course.signals == {next(iter(combined)): pytest.approx(2 / 3)}
    plan = SamplingPlan().changed(
        {"presence_penalty": one, "dry_multiplier": pairs, "frequency_penalty": {"sum": [one, pairs]}}
    )
    course = Course(plan.schedule())
    course.next(3, (5, 5, 5))
    assert course.signals == {
        "repetition of presence_penalty": pytest.approx(2 / 3),
        "repetition of dry_multiplier": pytest.approx(0.5),
    }


def test_a_combination_is_of_the_turn_where_all_in_it_are() -> None:
    by_turn = Linear(1.0, 0.5, 4, "turn")
    assert not Moving.of(Sum((by_turn, 0.1))).per_token
    assert Moving.of(Sum((by_turn, FALL))).per_token
    assert Moving.of(Then(by_turn, 0.1, 2)).per_token
    assert not Moving.of(Then(by_turn, 0.1, 2, "turn")).per_token
    assert Moving.of(Product((Mirostat(2.0), FALL))).needs == {"surprise"}


def test_then_by_turn_and_by_progress_begin_anew_too() -> None:
    falls = Linear(1.0, 0.0, 4, "turn")
    by_turn = Moving.of(Then(0.5, falls, 2, "turn"))
    assert [by_turn.at(Now(turn=turn)).value for turn in (1, 2, 3, 4, 7)] == [0.5, 0.5, 1.0, 0.75, 0.0]
    half = Moving.of(Then(0.5, Cosine(1.0, 0.0, 1.0, "progress"), 0.5, "progress"))
    values = [half.at(Now(done=done)).value for done in (0.0, 0.49, 0.5, 0.75, 1.0)]
    assert values == pytest.approx([0.5, 0.5, 1.0, 0.5, 0.0])
    tokens = Moving.of(Then(0.5, Linear(1.0, 0.0, 4), 0.07, "progress"))
    values = [tokens.at(Now(token=token, max_tokens=100)).value for token in (6, 7, 8, 10, 12, 50)]
    assert values == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.0, 0.0])


FEEDBACK = {"start": 0.7, "gain": 0.1, "low": 0.1, "high": 1.0}


@pytest.mark.parametrize(
    ("parameter", "written", "words"),
    [
        (
            "temperature",
            {"product": [{"feedback": FEEDBACK}, {"linear": {"from": 1.0, "to": 0.5, "over": 64}}]},
            "temperature.product: 'feedback' learns from turn to turn and cannot stand beside what moves within an "
            "answer. Let all of them move `by: turn`.",
        ),
        (
            "temperature",
            {"clip": {"of": {"mirostat": {"target": 3.0}}, "low": 0.1}},
            "temperature: 'clip' steers epsilon_cutoff, and nothing else. Write it there.",
        ),
        (
            "temperature",
            {"clip": {"of": 0.5, "low": 1.0, "high": 0.9}},
            "temperature.clip.low: 1 is above high, which is 0.9. Lower it.",
        ),
        (
            "temperature",
            {"clip": {"of": {"mirostat": {"target": 3.0, "low": 0.5, "high": 0.1}}}},
            "temperature.clip.of.mirostat.low: 0.5 is above high, which is 0.1. Lower it.",
        ),
    ],
)
def test_what_cannot_be_combined_is_refused(parameter: str, written: Any, words: str) -> None:
    found = [f"{'.'.join(one.path)}: {one.problem}" for one in SamplingPlan.option_problems({parameter: written})]
    assert found == [words]


def test_feedback_may_be_combined_with_what_moves_by_turn() -> None:
    written = {"product": [{"feedback": FEEDBACK}, {"linear": {"from": 1.0, "to": 0.5, "over": 5, "by": "turn"}}]}
    assert list(SamplingPlan.option_problems({"temperature": written})) == []
    made = Product((Feedback(0.7, 0.1, 0.1, 1.0), Linear(1.0, 0.5, 5, "turn")))
    assert Moving.of(made).remembers
    values = driven(made, [{}, {"feedback": 1.0}, {"feedback": 1.0}, {}])
    assert values == pytest.approx([0.7, 0.8 * 0.9, 0.9 * 0.8, 0.9 * 0.7])


def test_two_that_steer_the_same_may_be_combined() -> None:
    both = Moving.of(Sum((Repetition(0.0, 1.0), Repetition(0.0, 0.5))))
    assert both.steers == Repetition.steers
    assert Moving.of(Sum((Repetition(0.0, 1.0), Mirostat(2.0)))).steers == frozenset()
    assert Moving.of(Sum((FALL, Step(1.0, 0.5, 4)))).steers is None
    assert refused(Sum((FALL, RIPPLE))) == []
