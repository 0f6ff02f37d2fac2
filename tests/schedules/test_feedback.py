"""Feedback: integral control from turn to turn, remembered with the conversation."""

from __future__ import annotations

import random
from typing import Any

import pytest

import vllm_flow
from vllm_flow.core.messages import user
from vllm_flow.core.values import Turn
from vllm_flow.engines import Echo
from vllm_flow.schedules import Feedback
from vllm_flow.stages.context import Full, Update
from vllm_flow.stages.fuse import Chat
from vllm_flow.stages.infer import Generate
from vllm_flow.stages.schedule import FromSampling
from vllm_flow.stages.score import ByMetric
from vllm_flow.stores.memory import Memory

from .driving import driven, refused


def test_it_adds_up_what_is_missing_to_the_target() -> None:
    rng = random.Random(2)
    told = [rng.choice((None, rng.uniform(-1, 1))) for _ in range(1000)]
    found = driven(
        Feedback(0.7, 0.4, 0.1, 1.2, target=0.2, max_step=0.15, hysteresis=0.25), [{"feedback": one} for one in told]
    )
    value, wanted = 0.7, []
    for one in told:
        if one is not None and abs(one - 0.2) >= 0.25:
            value = min(1.2, max(0.1, value + min(0.15, max(-0.15, 0.4 * (one - 0.2)))))
        wanted.append(value)
    assert found == pytest.approx(wanted)


def test_it_counts_on_exactly_where_the_parameter_is_a_whole_number() -> None:
    """Ten steps of 0.3 are 3, though top_k never moves by less than 1."""
    graph = {
        **DIALOGUE,
        "schedule": FromSampling({"top_k": {"feedback": {"start": 40, "gain": 0.3, "low": 1, "high": 100}}}),
    }
    with conversation(graph) as session:
        for number in range(1, 12):
            session.run(Turn("talk", user("hm"), number=number, feedback=None if number == 1 else 1.0))
        (value, exact) = session.opened("store").state("talk")["sampling"]["last"]["top_k"]
    assert (value, exact) == (43, pytest.approx(43.0))


DIALOGUE: dict[str, Any] = {
    "context": Full(),
    "prompt": Chat(),
    "schedule": FromSampling(),
    "reply": Generate(),
    "remember": Update(),
}


def conversation(graph: dict[str, Any], **sampling: Any) -> vllm_flow.Session:
    resources = {"engine": Echo(), "store": Memory()}
    return vllm_flow.build(graph, "reply", resources=resources, sampling=sampling, record=False)


def test_a_metric_of_the_reply_moves_the_next_turn() -> None:
    """The loop is closed: metric → score → state → the value in force."""
    quality = ByMetric("length/words", worst=0, best=8)
    graph = {**DIALOGUE, "quality": quality, "remember": vllm_flow.node(Update(), feedback="quality")}
    values = []
    with conversation(graph, temperature=Feedback(0.7, 0.1, 0.2, 1.0)) as session:
        for text in ("one", "two words", "this has as many as eight words altogether", "and then", "end"):
            session.run(text, conversation="talk")
            values.append(session.opened("store").state("talk")["sampling"]["last"]["temperature"][0])
    # words: 1, 2, 8, 2 are feedback -0.75, -0.5, 1, -0.5
    assert values == pytest.approx([0.7, 0.625, 0.575, 0.675, 0.625])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Feedback(0.1, 0.1, 0.2, 1.0), "start: 0.1 is not between low and high, 0.2 and 1. Put it there."),
        (Feedback(2.0, 0.1, 0.2, 1.0), "start: 2 is not between low and high, 0.2 and 1. Put it there."),
    ],
)
def test_it_begins_within_its_bounds(made: Feedback, words: str) -> None:
    assert refused(made) == [words]
