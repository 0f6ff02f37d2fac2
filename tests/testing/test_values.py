"""The values that tests make from texts are those that the framework would make."""

from __future__ import annotations

import pytest

from vllm_flow.core.messages import assistant, system, user
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.segments import facts_of
from vllm_flow.core.values import Completion, Context, Prompt, Turn, Usage
from vllm_flow.testing import EchoEngine, ask, completion, context, prompt, schedule, turn


def test_a_turn_is_numbered_and_belongs_to_a_conversation() -> None:
    assert turn("hi") == Turn("test", user("hi"), number=1)
    assert turn("hi", "ann", 3, [system("Be brief.")]) == Turn("ann", user("hi"), (system("Be brief."),), 3)


@pytest.mark.parametrize("text", ["to be", " or  not\n", "", "你好 🙂"])
def test_a_completion_has_the_tokens_of_an_echo(text: str) -> None:
    said = ask(EchoEngine(), text, logprobs=True)
    assert completion(text, logprobs=said.logprobs).token_ids == said.token_ids
    assert completion(text).usage == Usage(1, len(said.token_ids))


def test_how_a_completion_ended_and_how_likely_it_was_can_be_said() -> None:
    one = completion("a b", "length", logprobs=[-1.0, -3.0])
    assert (one.finish_reason, one.logprobs) == ("length", (-1.0, -3.0))
    assert completion("a b") == Completion("a b", one.token_ids, "stop", Usage(1, 2), None)
    with pytest.raises(ValueError, match=r"^2 logprobs for 'a', which has 1 tokens\. Give one for each\.$"):
        completion("a", logprobs=(-1.0, -3.0))


def test_texts_are_said_by_user_and_assistant_in_turn() -> None:
    assert prompt("a", "b", "c") == Prompt((user("a"), assistant("b"), user("c")))
    assert prompt(system("s"), "a", user("b"), "c", assistant("d"), "e").messages == (
        system("s"), user("a"), user("b"), assistant("c"), assistant("d"), user("e"),
    )  # fmt: skip
    assert context("a", "b") == Context((user("a"), assistant("b")))
    assert context() == Context()
    assert context(facts={"name": "Ann"}, state={"n": 1}) == Context(
        (), {"n": 1}, segments=(facts_of({"name": "Ann"}),)
    )


def test_a_schedule_names_what_is_not_neutral() -> None:
    assert schedule(temperature=0, max_tokens=4) == Schedule(Sampling(temperature=0, max_tokens=4))
    assert schedule().at(7) == Sampling()
