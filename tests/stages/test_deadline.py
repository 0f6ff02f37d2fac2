"""Deadlines: how long an answer may be in the time that is left, by how fast answers came."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from vllm_flow.core.errors import FlowError
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Usage
from vllm_flow.stages.context import Update
from vllm_flow.stages.deadline import Deadline, Measured
from vllm_flow.testing import FixedClock, MemoryStore, completion, context, turn

START = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
PLAN = SamplingPlan().changed({"max_tokens": 400})


def at(seconds: float) -> FixedClock:
    return FixedClock(START + timedelta(seconds=seconds))


class Conversation:
    """Turns at given times, each answered after some seconds with so many tokens; that is measured, or it is not."""

    def __init__(self, deadline: Deadline, watched: bool = True) -> None:
        self.deadline, self.watched, self.store = deadline, watched, MemoryStore()
        self.number = 0

    def asked(self, seconds: float) -> Schedule:
        self.number += 1
        asked = turn("hm", number=self.number)
        self.store.begin(asked)
        state = self.store.state("test")
        return self.deadline.run(PLAN.schedule(asked, state), context(state=state), at(seconds))

    def answered(self, schedule: Schedule, seconds: float, tokens: int | None) -> None:
        reply = replace(completion("x"), usage=Usage(7, tokens))
        kept = Measured().run(schedule, reply, at(seconds)) if self.watched else schedule
        state = context(state=self.store.state("test"))
        Update().run(turn("hm", number=self.number), reply, state, self.store, schedule=kept)


def test_answers_get_shorter_by_how_fast_they_came_whatever_the_pauses() -> None:
    talk = Conversation(Deadline(100.0))
    first = talk.asked(0)
    assert first.at(0).max_tokens == 400  # nothing is measured yet
    talk.answered(first, 10, 200)  # 20 tokens a second
    second = talk.asked(50)
    assert second.at(0).max_tokens == 400
    talk.answered(second, 90, 200)  # now 400 in 50 seconds of answering: 8
    third = talk.asked(94)
    assert third.at(0).max_tokens == 48
    assert third.keeps["deadline"] == {
        "began": START.isoformat(),
        "asked": (START + timedelta(seconds=94)).isoformat(),
        "seconds": 50.0,
        "tokens": 400,
    }
    talk.answered(third, 99, 40)
    with pytest.raises(FlowError) as caught:
        talk.asked(103.5)
    assert str(caught.value) == (
        "the 100 seconds of this conversation are over since 3.5 seconds. Raise `seconds`, or begin another "
        "conversation."
    )


def test_a_pace_that_is_given_holds_until_one_is_measured() -> None:
    talk = Conversation(Deadline(20.0, tokens_per_second=10.0))
    first = talk.asked(0)
    assert first.at(0).max_tokens == 200
    talk.answered(first, 5, 100)
    assert talk.asked(10).at(0).max_tokens == 200  # 20 tokens a second, and 10 seconds are left


def test_what_is_not_measured_is_what_was_given_or_nothing() -> None:
    talk = Conversation(Deadline(20.0), watched=False)
    talk.answered(talk.asked(0), 5, 100)
    assert talk.asked(19).at(0).max_tokens == 400
    talk = Conversation(Deadline(20.0, tokens_per_second=4.0), watched=False)
    talk.answered(talk.asked(0), 5, 80)
    assert talk.asked(15).at(0).max_tokens == 20


def test_an_answer_that_is_not_worth_it_is_not_begun() -> None:
    with pytest.raises(FlowError) as caught:
        Conversation(Deadline(3.0, tokens_per_second=5.0, least=20)).asked(0)
    assert str(caught.value) == (
        "the 3 seconds of this conversation are nearly over: 3.0 are left, enough for 15 tokens at 5 a second, and 20 is "
        "the least. Raise `seconds`, or begin another conversation."
    )


def test_the_rest_of_the_schedule_stays_and_what_it_remembers_goes_along() -> None:
    plan = SamplingPlan().changed({"max_tokens": {"budget": {"most": 90, "tokens": 900}}, "temperature": 0.4})
    given = plan.schedule(turn("hm"))
    made = Deadline(10.0, tokens_per_second=3.0).run(given, context(), at(0))
    assert (made.at(0).max_tokens, made.at(0).temperature) == (30, 0.4)
    assert made.keeps.keys() == {"max_tokens", "deadline"}


def test_an_engine_that_does_not_tell_its_tokens_leaves_the_pace_that_is_given() -> None:
    talk = Conversation(Deadline(20.0, tokens_per_second=6.0))
    talk.answered(talk.asked(0), 5, None)
    assert talk.asked(10).at(0).max_tokens == 60


def test_without_a_deadline_there_is_nothing_to_measure_for() -> None:
    with pytest.raises(FlowError) as caught:
        Measured().run(PLAN.schedule(), completion("x"), at(0))
    assert str(caught.value) == "the schedule has no deadline. Give it the one that schedule/deadline makes."


def test_it_is_foreseen_without_the_time() -> None:
    found = Deadline(5.0).foresee(PLAN.schedule(), at(0))
    assert (found.at(0), "deadline" in found.keeps) == (PLAN.schedule().at(0), True)
