"""What is planned is what a run will do, and what only a run can tell is known as such without being declared."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import vllm_flow.schedules  # noqa: F401  # registers them
from vllm_flow.core import registry
from vllm_flow.core.errors import EngineError
from vllm_flow.core.messages import user
from vllm_flow.core.moving import Now, Steered
from vllm_flow.core.planned import Planned, Point, of_an_answer, planned, thinned
from vllm_flow.core.registry import schedule
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.values import Turn

FALL = {"linear": {"from": 1.0, "to": 0.2, "over": 8}}


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.schedule, "_entries", dict(registry.schedule._entries))


def plan(**sampling: Any) -> SamplingPlan:
    return SamplingPlan().changed(sampling)


def only(**sampling: Any) -> Planned:
    (one,) = planned(plan(**sampling))
    return one


def test_over_tokens_the_plan_is_what_an_answer_gets() -> None:
    settings = plan(temperature={"sum": [FALL, {"cyclic": {"low": 0, "high": 0.1, "period": 3}}]}, max_tokens=12)
    (one,) = planned(settings)
    assert (one.parameter, one.schedule, one.axis, one.follows, one.length) == ("temperature", "sum", "token", (), 12)
    schedule = settings.schedule()
    assert list(one.values) == [schedule.at(token).temperature for token in range(12)]
    assert one.points[-1] == (11, one.values[-1])
    assert one.extent == (min(one.values), max(one.values))


def test_over_turns_the_plan_is_what_the_turns_get_up_to_a_little_after_it_settles() -> None:
    settings = plan(top_k={"linear": {"from": 40, "to": 5, "over": 10, "by": "turn"}})
    (one,) = planned(settings)
    turns = [Turn("c", user("hi"), number=number) for number in range(1, 14)]
    assert list(one.values) == [settings.schedule(turn).sampling.top_k for turn in turns]
    assert (one.axis, one.points[0], one.points[-1]) == ("turn", (1, 40), (13, 5))
    assert len(only(top_k={"cyclic": {"low": 1, "high": 9, "period": 4, "by": "turn"}}).values) == 32


def test_what_looks_at_the_token_only_later_is_drawn_by_token() -> None:
    settings = plan(temperature={"then": {"first": 0.7, "next": FALL, "after": 0.5, "by": "progress"}}, max_tokens=20)
    (one,) = planned(settings)
    schedule = settings.schedule()
    assert (one.axis, list(one.values)) == ("token", [schedule.at(token).temperature for token in range(20)])
    assert one.values[9:13] == pytest.approx((0.7, 1.0, 0.9, 0.8))


def test_over_progress_it_is_drawn_by_progress_and_mixed_with_tokens_by_token() -> None:
    by_progress = {"linear": {"from": 1, "to": 0.5, "over": 1, "by": "progress"}}
    one = only(top_p=by_progress)
    assert (one.axis, one.points[0], one.points[128], one.points[-1]) == ("progress", (0, 1), (0.5, 0.75), (1, 0.5))
    mixed = only(top_p={"product": [by_progress, {"linear": {"from": 1, "to": 0.9, "over": 4}}]}, max_tokens=8)
    assert (mixed.axis, mixed.values[4]) == ("token", pytest.approx(0.75 * 0.9))


@pytest.mark.parametrize(
    ("read", "told"),
    [
        ("entropy", "entropy"),
        ("surprise", "surprise"),
        ("feedback", "feedback"),
        ("output", "the tokens generated"),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_what_a_schedule_reads_that_only_a_run_can_tell_is_what_it_follows(read: str, told: str, inside: bool) -> None:
    @schedule("planned-reads")
    def reads(now: Now) -> float:
        """Reads one thing."""
        return 0.5 if not getattr(now, read) else 0.7

    given = {"clip": {"of": "planned-reads", "low": 0.1, "high": 0.9}} if inside else "planned-reads"
    one = only(temperature=given)
    assert (one.follows, one.values) == ((told,), (0.5,))
    assert one.extent == ((0.1, 0.9) if inside else None)


def test_what_is_declared_is_followed_though_it_is_not_read_at_first() -> None:
    @schedule("planned-late", needs=("entropy",))
    @dataclass(frozen=True)
    class Late:
        """Reads nothing at first."""

        @property
        def bounds(self) -> tuple[float, float]:
            return 0.0, math.inf

        def at(self, now: Now) -> float:
            return 0.4 if now.token == 0 else float(now.entropy or 0)

    one = only(temperature="planned-late")
    assert (one.follows, one.values, one.extent) == (("entropy",), (0.4,), None)


def test_what_is_read_later_is_seen_when_it_is_read() -> None:
    @schedule("planned-later")
    def later(now: Now) -> float:
        """Looks at the output in the end."""
        return 0.5 + (len(now.output) if now.token > 6 else 0)

    assert only(temperature="planned-later", max_tokens=6).follows == ()
    assert only(temperature="planned-later", max_tokens=9).follows == ("the tokens generated",)


def test_what_remembers_is_planned_in_order() -> None:
    @schedule("planned-halves")
    @dataclass(frozen=True)
    class Halves:
        """Half of what was before."""

        def at(self, now: Now) -> Steered:
            count = now.state or 0
            return Steered(0.8 if now.before is None else now.before / 2, count + 1)

    assert only(temperature="planned-halves", max_tokens=4).values == (0.8, 0.4, 0.2, 0.1)

    @schedule("planned-turns", per_token=False)
    @dataclass(frozen=True)
    class Turns:
        """Half of the turn before."""

        remembers = True

        def at(self, now: Now) -> float:
            return 0.8 if now.before is None else now.before / 2

    assert only(temperature="planned-turns").values[:3] == (0.8, 0.4, 0.2)


def test_a_schedule_that_gives_what_its_parameter_cannot_be_is_found_before_a_run() -> None:
    @schedule("planned-sinks")
    def sinks(now: Now) -> float:
        """Below zero in the end."""
        return 0.3 - now.token / 100

    with pytest.raises(EngineError) as caught:
        only(temperature="planned-sinks")
    assert str(caught.value) == (
        "sampling.temperature: the schedule 'planned-sinks' gave -0.01 at token 31. It takes a number of 0 or more."
    )


def test_of_one_answer_as_many_tokens_are_planned_as_it_has() -> None:
    (moving,) = plan(temperature=FALL).moving.values()
    values = of_an_answer(moving, "temperature", 3, Now(turn=2, max_tokens=50))
    assert values == pytest.approx([1.0, 0.9, 0.8])
    by_progress = plan(temperature={"linear": {"from": 1, "to": 0, "over": 1, "by": "progress"}})
    assert of_an_answer(by_progress.moving["temperature"], "temperature", 3, Now(max_tokens=4)) == [1.0, 0.75, 0.5]

    @schedule("planned-follows")
    def follows(now: Now) -> float:
        """Follows the surprise."""
        return 0.5 if now.surprise is None else 0.1

    (moving,) = plan(temperature="planned-follows").moving.values()
    assert of_an_answer(moving, "temperature", 3, Now()) is None


def waves() -> Iterator[Point]:
    for place in range(1000):
        yield place, math.sin(place) + (9 if place == 513 else 0)


def test_thinning_keeps_the_ends_and_every_spike() -> None:
    points = list(waves())
    some = thinned(points, 100)
    assert len(some) <= 100
    assert (some[0], some[-1], max(some, key=lambda one: one[1])) == (points[0], points[-1], points[513])
    assert set(some) <= set(points)
    assert [x for x, _ in some] == sorted(x for x, _ in some)
    assert thinned(points[:100], 100) == points[:100]
    assert len(thinned(points, 4)) == 4
