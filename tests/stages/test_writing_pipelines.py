"""The pipelines that write and teach, each run whole with its sample: what the model is given, and what is remembered."""

from __future__ import annotations

from collections import defaultdict

import pytest

from vllm_flow.config import compose
from vllm_flow.core.events import Event, NodeDone
from vllm_flow.session import Session


def run(name: str, *overrides: str) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """By conversation: what was answered, and the text of each prompt."""
    prompts: dict[str, list[str]] = defaultdict(list)
    answers: dict[str, list[str]] = defaultdict(list)

    def watch(event: Event) -> None:
        if isinstance(event, NodeDone) and event.node == "prompt":
            prompts[event.turn.conversation].append("\n".join(one.text for one in event.value.messages))

    spec = compose([f"pipeline={name}", "engine=echo", "sampling.max_tokens=500", *overrides])
    with Session(spec, record=False, observers=[watch]) as session:
        for result in session.run():
            answers[result.turn.conversation].append(result.text)
    return answers, prompts


@pytest.mark.parametrize(
    ("name", "says"),
    [("news", "You write for a newspaper."), ("review", "You write reviews from somebody's notes.")],
)
def test_what_is_to_be_written_of_is_given_with_how(name: str, says: str) -> None:
    answers, prompts = run(name)
    assert len(answers) == 3
    for conversation, (answer,) in answers.items():
        assert prompts[conversation][0].startswith(says)
        assert prompts[conversation][0].endswith(answer)


def test_a_tutor_is_told_the_level_in_every_turn_until_it_is_another() -> None:
    answers, prompts = run("tutor")
    assert (len(answers["fractions"]), len(answers["water"])) == (3, 2)
    assert all("level: beginner, ten years old" in prompt for prompt in prompts["fractions"])
    assert all("level: secondary school" in prompt for prompt in prompts["water"])
    assert answers["fractions"][2].endswith("Is it 3/4?")


def test_a_story_is_told_with_what_happened_in_the_chapters_that_have_left() -> None:
    answers, prompts = run("story")
    assert len(answers["fox"]) == 6
    assert ["The story so far:" in prompt for prompt in prompts["fox"]] == [False] * 4 + [True] * 2
    assert prompts["fox"][3].count("Begin a story about a small fox named Rusty") == 2
    assert "plot: Summarize this story" in prompts["fox"][4]
