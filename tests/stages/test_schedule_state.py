"""What schedules remember goes with the conversation's state: through a real graph, turn after turn, and after a restart."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.core.errors import ConfigError
from vllm_flow.core.messages import user
from vllm_flow.core.moving import Now, Steered
from vllm_flow.core.registry import schedule, stage
from vllm_flow.core.runner import Runner
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Completion, Score, Turn

GRAPH = {
    "context": {"use": "context/full"},
    "prompt": {"use": "fuse/chat"},
    "schedule": {"use": "schedule/sampling"},
    "reply": {"use": "infer/generate"},
    "remember": {"use": "context/update"},
}


@pytest.fixture(autouse=True)
def _parts(own_registry: None) -> None:
    @schedule("counting")
    @dataclass(frozen=True)
    class Counting:
        """As many tokens as turns, and two more for a good answer before."""

        per_token = False
        remembers = True

        def at(self, now: Now) -> Steered:
            count = 1 + (now.state or 0)
            return Steered(count + 2 * (now.feedback or 0.0), count)


def answers(folder: Path, *turns: Turn, **graph: Any) -> list[str]:
    spec = RunSpec(
        "test",
        {name: node for name, node in {**GRAPH, **graph}.items() if node},
        "reply",
        sampling={"max_tokens": "counting"},
        resources={
            "engine": {"use": "engine/echo"},
            "store": {"use": "store/sqlite", "path": str(folder / "a.sqlite")},
        },
    )

    async def run() -> list[str]:
        return [result.text async for result in Runner(spec).run(turns)]

    return asyncio.run(run())


def said(number: int, **more: Any) -> Turn:
    return Turn("a", user("one two three four five six"), number=number, **more)


def test_a_schedule_goes_on_where_the_conversation_left_it_also_after_a_restart(tmp_path: Path) -> None:
    assert answers(tmp_path, said(1), said(2)) == ["one", "one two"]
    assert answers(tmp_path, said(3), said(4, feedback=1.0)) == ["one two three", "one two three four five six"]


def test_a_score_wired_as_feedback_is_heard_in_the_next_turn(tmp_path: Path) -> None:
    @stage("score/short")
    @dataclass(frozen=True)
    class Short:
        """Good when it is one word."""

        def run(self, reply: Completion) -> Score:
            return Score(5.0 if len(reply.text.split()) == 1 else 0.0)

    judged = {
        "quality": {"use": "score/short"},
        "remember": {"use": "context/update", "from": {"feedback": "quality"}},
    }
    found = answers(tmp_path, said(1), said(2), said(3), **judged)
    assert found == ["one", "one two three four", "one two three"]  # 5.0 counts as 1, the best there is


def test_a_score_is_of_the_answer_before_and_of_no_other(tmp_path: Path) -> None:
    @schedule("liking", per_token=False)
    def liking(now: Now) -> float:
        """Longer after an answer that was liked."""
        return 1 if now.feedback is None else 4

    @stage("score/first")
    @dataclass(frozen=True)
    class First:
        """Has something to say of the first answer alone."""

        def run(self, reply: Completion, turn: Turn) -> Score | None:
            return Score(1.0) if turn.number == 1 else None

    judged = {
        "quality": {"use": "score/first"},
        "schedule": {"use": "schedule/sampling", "set": {"max_tokens": "liking"}},
        "remember": {"use": "context/update", "from": {"feedback": "quality"}},
    }
    assert answers(tmp_path, said(1), said(2), said(3), **judged) == ["one", "one two three four", "one"]


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (
            {"context": None, "remember": None, "prompt": {"use": "fuse/plain"}},
            "max_tokens has to be remembered from turn to turn, and no context reaches this node. Use a pipeline with "
            "one, such as dialogue.",
        ),
        (
            {"remember": None},
            "max_tokens has to be remembered from turn to turn, and nothing saves it. Wire it to context/update, as its "
            "`schedule`.",
        ),
    ],
)
def test_what_nothing_saves_is_refused(tmp_path: Path, graph: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        answers(tmp_path, said(1), **graph)
    assert str(caught.value) == f"graph.schedule: {words}"


def test_what_two_conversations_remember_is_apart(tmp_path: Path) -> None:
    other = Turn("b", user("one two three"), number=1)
    assert sorted(answers(tmp_path, said(1), said(2), other)) == ["one", "one", "one two"]
