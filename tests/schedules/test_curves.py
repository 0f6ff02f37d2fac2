"""Every curve against its formula, written out once more, at a thousand places on each axis."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vllm_flow.core.moving import Moving, Now
from vllm_flow.schedules import Constant, Cosine, Cyclic, Exponential, Linear, Piecewise, Step

from .driving import refused

PLACES = 1000
KNOTS = ((0.1, 1.0), (0.25, 0.2), (0.6, 0.9), (0.8, 0.9))


def stepped(start: float, factor: float, limit: float, times: int) -> float:
    value = start
    for _ in range(times):
        value = limit + factor * (value - limit)
    return value


def triangle(x: float, low: float, high: float, period: float) -> float:
    """How far it is to the nearest low, of half a period."""
    far = min(x % period, period - x % period) / (period / 2)
    return low + far * (high - low)


def points(scale: float) -> tuple[tuple[float, float], ...]:
    return tuple((place * scale, value) for place, value in KNOTS)


def held(x: float, knots: tuple[tuple[float, float], ...]) -> float:
    return knots[max(0, bisect_right([place for place, _ in knots], x) - 1)][1]


CURVES: list[tuple[Callable[[float], Any], Callable[[float, float], float]]] = [
    (lambda scale: Constant(0.7), lambda x, scale: 0.7),
    (lambda scale: Linear(1.5, 0.25, 0.6 * scale), lambda x, scale: float(np.interp(x, [0, 0.6 * scale], [1.5, 0.25]))),
    (lambda scale: Linear(0.0, 2.0, scale), lambda x, scale: 2.0 * min(1.0, x / scale)),
    (
        lambda scale: Cosine(1.2, 0.3, 0.5 * scale),
        lambda x, scale: 0.3 + 0.9 * math.cos(math.pi * min(x, 0.5 * scale) / scale) ** 2,
    ),
    (
        lambda scale: Exponential(1.0, 0.5, 0.125 * scale, 0.2),
        lambda x, scale: 0.2 + 0.8 * math.exp(-math.log(2) * x / (0.125 * scale)),
    ),
    (
        lambda scale: Step(1.6, 0.75, 0.0625 * scale, 0.1),
        lambda x, scale: stepped(1.6, 0.75, 0.1, int(x / (0.0625 * scale))),
    ),
    (
        lambda scale: Piecewise(points(scale)),
        lambda x, scale: float(np.interp(x, *zip(*points(scale), strict=True))),
    ),
    (lambda scale: Piecewise(points(scale), between="hold"), lambda x, scale: held(x, points(scale))),
    (lambda scale: Cyclic(0.2, 1.1, 0.125 * scale), lambda x, scale: triangle(x, 0.2, 1.1, 0.125 * scale)),
]
"""What is made for an axis of some length, and what its value at a place should be."""


def named(case: Any) -> str | None:
    return type(case(1.0)).__name__ if callable(case) and case.__code__.co_argcount == 1 else None


@pytest.mark.parametrize("axis", ["token", "turn", "progress"])
@pytest.mark.parametrize(("made", "formula"), CURVES, ids=named)
def test_a_curve_is_its_formula_at_a_thousand_places(made: Any, formula: Any, axis: str) -> None:
    scale = 1.0 if axis == "progress" else float(PLACES)
    curve = made(scale)
    curve = curve if isinstance(curve, Constant) else replace(curve, by=axis)
    moving = Moving.of(curve)
    assert moving.per_token == (axis != "turn" and not isinstance(curve, Constant))
    low, high = curve.bounds
    for place in range(PLACES):
        where = {"token": {"token": place}, "turn": {"turn": place + 1}, "progress": {"done": place / PLACES}}[axis]
        value = moving.at(Now(**where)).value
        assert value == pytest.approx(formula(place * scale / PLACES, scale), abs=1e-9), place
        assert low <= value <= high


def test_progress_is_that_of_the_answer_where_the_turn_says_none() -> None:
    curve = Linear(1.0, 0.0, 1.0, "progress")
    assert [curve.at(Now(token=token, max_tokens=8)) for token in (0, 2, 8, 99)] == [1.0, 0.75, 0.0, 0.0]
    assert curve.at(Now(token=2, max_tokens=8, done=0.5)) == 0.5


def test_before_its_first_point_and_after_its_last_a_piecewise_holds() -> None:
    for between in ("linear", "hold"):
        curve = Piecewise(((4.0, 1.0), (8.0, 3.0)), between)
        assert [curve.at(Now(token=token)) for token in (0, 4, 8, 99)] == [1.0, 1.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Exponential(1.0, 1.1), "factor: 1.1 makes it grow without end. Use a factor of at most 1, or `clip` around it."),
        (Step(1.0, 2.0, 8), "factor: 2 makes it grow without end. Use a factor of at most 1, or `clip` around it."),
        (Piecewise(()), "points: it takes pairs of a place and a value, such as [[0, 1.0], [64, 0.5]]."),
        (Piecewise(((0.0,),)), "points: it takes pairs of a place and a value, such as [[0, 1.0], [64, 0.5]]."),
        (Piecewise(((5.0, 1.0), (5.0, 2.0))), "points: their places do not rise. Sort them, and name no place twice."),
    ],
)  # fmt: skip
def test_what_is_no_curve_is_refused(made: Any, words: str) -> None:
    assert refused(made) == [words]
