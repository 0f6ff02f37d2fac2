"""A judge in the graph: what it is asked, what its words are worth, and that the next turn follows it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.schedules.driving import refused
from vllm_flow import build
from vllm_flow.core.messages import system, user
from vllm_flow.core.sampling_plan import STATE
from vllm_flow.core.values import Score
from vllm_flow.engines.echo import Echo
from vllm_flow.stages import Chat, FromSampling, Full, Generate, Question, Rating
from vllm_flow.stores import Memory
from vllm_flow.testing import completion, turn


def test_a_judge_is_asked_about_the_turn_and_its_reply() -> None:
    asked = Question("Rate.").run(turn("Why?"), completion("Because."))
    assert asked.messages == (
        system("Rate."),
        user("Question:\nWhy?\n\nAnswer:\nBecause.\n\nYour rating of the answer:"),
    )


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("5", 1.0), ("1", -1.0), ("I say 3.", 0.0), ("Not 1 but 4.0!", 0.5), ("**2**", -0.5), ("2 of 5", 1.0),
        ("6", None), ("0", None), ("-3", None), ("none", None), ("", None), ("v5", None), ("3.4.5", None), ("5,5", None),
    ],
)  # fmt: skip
def test_a_rating_is_the_last_number_that_stands_by_itself(said: str, value: float | None) -> None:
    found = Rating().run(completion(said))
    assert found == (None if value is None else Score(value))


def test_less_may_be_better_and_no_scale_is_refused() -> None:
    assert Rating(worst=10, best=0).run(completion("2.5")) == Score(0.5)
    assert refused(Rating(worst=3, best=3)) == ["best: it is 3, as `worst` is. Make them differ."]


def test_the_next_turn_follows_what_a_judge_said() -> None:
    table: dict[str, Any] = {
        "context": Full(),
        "schedule": FromSampling(),
        "prompt": Chat(),
        "reply": Generate(),
        "question": Question(),
        "brief": FromSampling({"max_tokens": 4, "top_p": 1.0}),
        "opinion": {"use": "infer/generate", "from": {"prompt": "question", "schedule": "brief"}, "regex": "[1-5]"},
        "rating": Rating(),
        "remember": {"use": "context/update", "from": {"feedback": "rating"}},
    }
    moving = {"feedback": {"start": 0.8, "gain": 0.2, "low": 0.1, "high": 1.0}}
    resources = {"engine": Echo(), "store": Memory()}
    sampling = {"max_tokens": 9, "top_p": moving}
    with build(table, "reply", resources=resources, sampling=sampling, record=False) as session:
        assert session.run("to be", "a").text == "to be"
        state = session.opened("store").state("a")[STATE]
        assert state["feedback"] == -1.0  # echo has no number to say again, and gives the least example
        session.run("or not", "a")
        assert session.opened("store").state("a")[STATE]["last"]["top_p"][0] == pytest.approx(0.6)
