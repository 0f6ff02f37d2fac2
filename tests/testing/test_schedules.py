"""The check of a schedule finds each broken promise, and passes every built-in one; its fake says what an answer gets."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_flow.config.schedules import example, parameter
from vllm_flow.core import plugins, registry
from vllm_flow.core.errors import FlowError
from vllm_flow.core.moving import Moving, Now
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.schedules import Linear
from vllm_flow.testing import check_schedule, values_of

from . import broken_schedules as broken

plugins.load_built_in()
BUILT_IN = [one for one in registry.schedule if one.cls.__module__.startswith("vllm_flow.schedules")]


@pytest.mark.parametrize(("moving", "parameter", "said"), broken.BROKEN, ids=[one[2][:40] for one in broken.BROKEN])
def test_each_broken_promise_is_told_in_one_line(moving: Any, parameter: str | None, said: str) -> None:
    with pytest.raises(AssertionError) as caught:
        check_schedule(moving, parameter)
    assert str(caught.value).startswith(said)
    assert str(caught.value).count("\n") == 0


@pytest.mark.parametrize("moving", broken.FINE, ids=lambda one: getattr(one, "__name__", type(one).__name__))
def test_a_sound_one_passes_and_its_values_are_given(moving: Any) -> None:
    assert len(check_schedule(moving, "temperature")) == 200


@pytest.mark.parametrize("entry", BUILT_IN, ids=lambda one: one.name)
def test_every_built_in_schedule_keeps_them(entry: registry.Entry) -> None:
    moving = Moving.option_read(example(entry))
    assert len(check_schedule(moving.made, parameter(entry))) == 200


def test_the_values_over_tokens_are_those_that_an_answer_gets() -> None:
    plan = SamplingPlan().changed({"temperature": {"linear": {"from": 1.0, "to": 0.2, "over": 4}}}).schedule()
    assert values_of(Linear(1.0, 0.2, 4), tokens=6) == [plan.at(token).temperature for token in range(6)]
    assert len(values_of(Linear(1.0, 0.2, 4))) == 8


def test_signals_are_told_token_by_token_or_all_alike() -> None:
    assert values_of(broken.reads_without_saying, entropy=[None, 1.0, 2.0, 9.0]) == [0.5, 0.25, 0.5, 1.0]
    assert values_of(broken.reads_without_saying, tokens=3, entropy=2.0) == [0.5, 0.5, 0.5]
    assert values_of(broken.reads_without_saying, tokens=3, entropy=[2.0]) == [0.5, 0.5, 0.5]


def test_what_is_remembered_goes_from_token_to_token_and_from_turn_to_turn() -> None:
    assert values_of(broken.Turns(), turns=4) == [0.8, 0.4, 0.2, 0.1]
    assert values_of(broken.forgets, turns=3) == [0.8, 0.8, 0.8]
    first, second, third = values_of(broken.Follows(), surprise=[4.0, 2.0, 1.0])
    assert (first, second, third) == pytest.approx((0.4, 0.4, 0.45))


def test_of_the_output_a_token_sees_what_is_before_it() -> None:
    @registry.schedule("seen-output")
    def seen(now: Now) -> float:
        """How many different tokens there are."""
        return len(set(now.output))

    assert values_of(seen, output=[7, 7, 8, 9]) == [0, 1, 1, 2]


def test_a_word_that_now_has_not_is_told_with_those_it_has() -> None:
    with pytest.raises(TypeError, match=r"^Now has no 'entrpy'\. Did you mean 'entropy'\? It has: before, done, "):
        values_of(Linear(1.0, 0.2, 4), entrpy=[1.0])
    with pytest.raises(FlowError, match=r"^unregistered is no schedule\. "):
        values_of(broken.unregistered)
