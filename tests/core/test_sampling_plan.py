"""The sampling plan: numbers and schedules in one place, what is wrong with them, and the schedule of each answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest

from vllm_flow.core.errors import EngineError, FlowError, listed
from vllm_flow.core.messages import user
from vllm_flow.core.moving import Moving, Now, Steered
from vllm_flow.core.options import written
from vllm_flow.core.registry import schedule as registered
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.sampling_plan import STATE, SamplingPlan
from vllm_flow.core.schedule import Course, Schedule
from vllm_flow.core.values import Turn
from vllm_flow.schedules import Constant, Linear, Product, Sum

COOLING = {"linear": {"from": 1.0, "to": 0.2, "over": 4}}
GROWS = "2 makes it grow without end. Use a factor of at most 1, or `clip` around it."


@pytest.fixture(autouse=True)
def _known(own_registry: None) -> None:
    """What a test registers is forgotten after it."""


def turn(number: int, **more: Any) -> Turn:
    return Turn("a", user("hi"), number=number, **more)


def faults(given: dict[str, Any]) -> list[str]:
    return [f"{'.'.join(one.path)}: {one.problem}" for one in SamplingPlan.option_problems(given)]


def schedules() -> str:
    return listed(one.name for one in registered)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"temperature": -1}, ["temperature: -1 does not fit. It takes a number of 0 or more."]),
        (
            {"temperature": "liner"},
            ["temperature: 'liner' does not fit. Did you mean 'linear'? It takes a number of 0 or more, or a schedule: {schedules}."],
        ),
        (
            {"temperature": {"liner": {}}},
            ["temperature.liner: there is no schedule 'liner'. Did you mean 'linear'? There are: {schedules}."],
        ),
        ({"temperature": {}}, ["temperature: {} is no schedule. Write {NAME: {…}}, such as {linear: {…}}."]),
        (
            {"temperature": {"linear": {"form": 1, "to": -1, "over": 0}}},
            [
                "temperature.linear.form: there is no option 'form'. Did you mean 'from'? Options: by, from, over, to.",
                "temperature.linear.over: 0 does not fit. It takes a number above 0.",
                "temperature.linear.from: 'from' is missing. It takes a number.",
            ],
        ),
        (
            {"temperature": {"linear": COOLING["linear"], "cosine": COOLING["linear"]}},
            ["temperature: linear and cosine are two schedules in one place: mappings of two files merge. Keep one."],
        ),
        (
            {"top_p": {"linear": {"from": 0, "to": 1.5, "over": 4}}},
            [
                "top_p: 'linear' comes to 0. top_p takes a number above 0 and at most 1.",
                "top_p: 'linear' comes to 1.5. top_p takes a number above 0 and at most 1.",
            ],
        ),
        (
            {"max_tokens": {"linear": {"from": 9, "to": 4, "over": 3}}},
            ["max_tokens: it is settled when an answer begins, and 'linear' moves within one. Let it move `by: turn`."],
        ),
        ({"stop": {"linear": {}}}, ["stop: {'linear': {}} does not fit. It takes a list, each item a text that is not empty."]),
        (
            {"temperature": {"sum": [{"cos": {}}, {"exponential": {"from": 1, "factor": 2}}]}},
            [
                "temperature.sum.of.0.cos: there is no schedule 'cos'. Did you mean 'cosine'? There are: {schedules}.",
                f"temperature.sum.of.1.exponential.factor: {GROWS}",
            ],
        ),
        ({"temperature": {"clip": {"of": 1, "low": 2, "high": 1}}}, ["temperature.clip.low: 2 is above high, which is 1. Lower it."]),
        (
            {"temperature": {"piecewise": {"points": [[0, 1], [0, 2]]}}},
            ["temperature.piecewise.points: their places do not rise. Sort them, and name no place twice."],
        ),
        (
            {"temperature": {"piecewise": {"points": [[0, 1, 2]]}}},
            ["temperature.piecewise.points: it takes pairs of a place and a value, such as [[0, 1.0], [64, 0.5]]."],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(given: dict[str, Any], words: list[str]) -> None:
    assert faults(given) == [one.replace("{schedules}", schedules()) for one in words]


def test_a_plan_is_written_as_it_was_read() -> None:
    given = {"temperature": COOLING, "top_p": {"sum": {"of": [{"constant": {"value": 0.5}}, COOLING]}}, "max_tokens": 9}
    plan = SamplingPlan.option_read(given)
    assert SamplingPlan.option_read(written(plan, defaults=False)) == plan
    short = {"temperature": COOLING, "top_p": {"sum": [0.5, COOLING]}, "max_tokens": 9}
    assert SamplingPlan.option_read(short) == plan
    assert hash(SamplingPlan.option_read(short)) == hash(plan)


def test_a_number_in_place_of_a_schedule_and_the_other_way_round() -> None:
    plan = SamplingPlan(Sampling(temperature=0.3, top_k=5)).changed({"temperature": COOLING})
    assert plan.numbers == Sampling(top_k=5)
    assert [plan.schedule().at(token).temperature for token in range(6)] == pytest.approx(
        [1.0, 0.8, 0.6, 0.4, 0.2, 0.2]
    )
    back = plan.changed({"temperature": 0})
    assert back == SamplingPlan(Sampling(temperature=0, top_k=5))
    assert back.schedule() == Schedule(Sampling(temperature=0, top_k=5))


def test_what_moves_from_turn_to_turn_is_a_number_within_one() -> None:
    plan = SamplingPlan().changed(
        {
            "temperature": {"linear": {**COOLING["linear"], "by": "turn"}},
            "max_tokens": {"step": {"from": 100, "factor": 0.5, "every": 2, "limit": 10, "by": "turn"}},
        }
    )
    found = [plan.schedule(turn(number)) for number in range(1, 7)]
    assert [one.sampling.temperature for one in found] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2])
    assert [one.sampling.max_tokens for one in found] == [100, 100, 55, 55, 33, 33]  # 32.5 is rounded up
    assert [one.moving for one in found] == [{}] * 6
    assert (plan.most("max_tokens"), plan.start.max_tokens) == (100, 100)


@pytest.mark.parametrize("parameter", ["max_tokens", "n"])
def test_the_most_that_nobody_can_say_is_what_it_begins_with(parameter: str) -> None:
    @registered("longer", per_token=False)
    def longer(now: Now) -> float:
        """Longer by turn."""
        return 20 + now.turn

    for given in ("longer", {"clip": {"of": "longer", "low": 9}}):
        assert SamplingPlan().changed({parameter: given}).most(parameter) == 21
    assert SamplingPlan().changed({parameter: {"clip": {"of": "longer", "high": 30}}}).most(parameter) == 30


def test_progress_is_what_the_turn_says_or_how_much_of_the_answer_there_is() -> None:
    plan = SamplingPlan(Sampling(max_tokens=10)).changed(
        {"temperature": {"linear": {"from": 1.0, "to": 0.0, "over": 1, "by": "progress"}}}
    )
    assert [plan.schedule(turn(1)).at(token).temperature for token in (0, 5, 10, 99)] == [1.0, 0.5, 0.0, 0.0]
    assert [plan.schedule(turn(1, progress=0.25)).at(token).temperature for token in (0, 5)] == [0.75, 0.75]


@dataclass(frozen=True)
class Counting:
    """Counts the turns, by what it kept."""

    per_token = False
    remembers = True

    def at(self, now: Now) -> Steered:
        count = (now.state or {"count": 0})["count"] + 1
        return Steered(count / 10 + (now.feedback or 0.0), {"count": count})


def test_what_a_schedule_remembers_is_kept_with_the_turn_and_given_to_the_next() -> None:
    plan = SamplingPlan(moving={"temperature": Moving("counting", Counting())})
    assert plan.remembers == ["temperature"]
    first = plan.schedule(turn(1))
    state = first.after(20, 10)
    assert state == {
        "last": {"temperature": (0.1, {"count": 1})},
        "used_prompt_tokens": 20,
        "used_answer_tokens": 10,
    }
    second = plan.schedule(turn(2, feedback=0.5), {STATE: state, "facts": 1})
    assert second.sampling.temperature == pytest.approx(0.7)
    assert second.after(30, 2)["used_prompt_tokens"] == 50
    liked = plan.schedule(turn(3), {STATE: second.after(1, None, feedback=0.25)})
    assert liked.sampling.temperature == pytest.approx(0.3 + 0.25)
    assert liked.used_answer_tokens is None, "once the engine did not say, nobody knows"
    assert SamplingPlan().schedule(turn(1)).after(7, 7) == {}


def test_a_course_knows_what_was_in_force_and_why() -> None:
    @registered("following", needs=("entropy",))
    def following(now: Now) -> float:
        """Follows the entropy."""
        return now.entropy or 0.0

    plan = SamplingPlan().changed({"temperature": "following", "top_p": 0.5})
    course = Course(plan.schedule())
    assert course.needs == {"entropy"}
    assert course.next(0, (), {"entropy": 0.5, "surprise": 2.0}) == Sampling(temperature=0.5, top_p=0.5)
    assert (course.values, course.signals) == ({"temperature": 0.5}, {"entropy": 0.5})
    still = course.next(1, (7,), {"entropy": 0.5})
    assert course.next(2, (7, 8), {"entropy": 0.5}) is still


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-0.5, "the schedule 'odd' gave -0.5 at token 3. It takes a number of 0 or more."),
        (math.nan, "the schedule 'odd' gave nan at token 3. It takes a number of 0 or more."),
        ("hot", "the schedule 'odd' fails at token 3: TypeError: it gave 'hot', which is no number"),
        (True, "the schedule 'odd' fails at token 3: TypeError: it gave True, which is no number"),
        (None, "the schedule 'odd' fails at token 3: TypeError: it gave None, which is no number"),
    ],
)
def test_what_a_parameter_cannot_be_is_an_error_with_the_schedule_and_the_token(value: Any, words: str) -> None:
    @registered("odd")
    def odd(now: Now) -> float:
        """Odd from the fourth token on."""
        return value if now.token == 3 else 1.0

    with pytest.raises(EngineError) as caught:
        SamplingPlan().changed({"temperature": "odd"}).schedule().at(3)
    assert str(caught.value) == f"sampling.temperature: {words}"


def test_a_whole_parameter_gets_the_nearest_whole_number() -> None:
    plan = SamplingPlan().changed({"top_k": {"linear": {"from": 1, "to": 4, "over": 6}}})
    assert [plan.schedule().at(token).top_k for token in range(7)] == [1, 2, 2, 3, 3, 4, 4]  # a half goes up


def test_python_may_say_a_schedule_by_its_class_its_function_or_a_number() -> None:
    @registered("calm", per_token=False)
    def calm(now: Now) -> float:
        """Always calm."""
        return 0.1

    assert Moving.of(0.5) == Moving("constant", Constant(0.5))
    assert Moving.of(Linear(1.0, 0.0, 5)) == Moving("linear", Linear(1.0, 0.0, 5))
    assert (Moving.of(calm).name, Moving.of(calm).per_token) == ("calm", False)
    assert Moving.of(Moving.of(calm)) == Moving.of(calm)
    made = Sum((Linear(1.0, 0.0, 4), Product((0.5, 2))))  # type: ignore[arg-type]
    assert Moving.of(made).at(Now(token=2)).value == 1.5
    with pytest.raises(FlowError) as caught:
        Moving.of("calm")
    assert str(caught.value) == "'calm' is no schedule. Register its class or function with @schedule(\"name\")."
