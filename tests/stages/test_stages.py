"""The built-in stages, each alone, on real values."""

from __future__ import annotations

import asyncio

import pytest

from tests import fakes
from vllm_flow.core.errors import EngineError
from vllm_flow.core.sampling import Sampling, Schedule
from vllm_flow.core.values import Completion, Context, Prompt, Score, Turn, Usage, assistant, system, user
from vllm_flow.stages.context import Full, Update, Window
from vllm_flow.stages.fuse import Chat
from vllm_flow.stages.infer import Generate, Sample
from vllm_flow.stages.schedule import FromSampling
from vllm_flow.stages.score import Likelihood
from vllm_flow.stages.select import Best, Vote
from vllm_flow.stores.memory import MemoryStore


def reply(text: str, reason: str = "stop", logprobs: tuple[float, ...] | None = None) -> Completion:
    return Completion(text, (1,), reason, Usage(1, 1), logprobs)  # type: ignore[arg-type]


def told(count: int) -> MemoryStore:
    """A store with `count` answered turns of conversation `a`."""
    store = MemoryStore()
    for number in range(1, count + 1):
        turn = Turn("a", user(f"q{number}"), number=number)
        store.begin(turn)
        store.commit(turn, reply(f"a{number}"), {"count": number})
    return store


def test_full_context_is_all_that_was_said_and_the_state() -> None:
    context = Full().run(Turn("a", user("q3"), number=3), told(2))
    assert [message.text for message in context.messages] == ["q1", "a1", "q2", "a2"]
    assert context.state == {"count": 2}


def test_full_context_begins_the_turn() -> None:
    store = told(0)
    Full().run(Turn("a", user("q1"), number=1), store)
    assert store.turns("a")[0].turn.message == user("q1")
    assert store.turns("a")[0].reply is None


def test_a_question_without_an_answer_is_no_history_and_an_interrupted_answer_is() -> None:
    store = told(1)
    store.begin(Turn("a", user("failed"), number=2))
    stopped = Turn("a", user("stopped"), number=3)
    store.begin(stopped)
    store.interrupt(stopped, reply("half an", "interrupted"))
    context = Full().run(Turn("a", user("q4"), number=4), store)
    assert [message.text for message in context.messages] == ["q1", "a1", "stopped", "half an"]


def test_messages_that_came_with_the_turn_follow_the_stored_ones() -> None:
    context = Full().run(Turn("a", user("q2"), (system("rules"), user("x"), assistant("y")), number=2), told(1))
    assert [message.text for message in context.messages] == ["q1", "a1", "rules", "x", "y"]


@pytest.mark.parametrize(
    ("turns", "kept", "dropped"),
    [
        (0, [], 6),
        (1, ["q3", "a3"], 4),
        (3, ["q1", "a1", "q2", "a2", "q3", "a3"], 0),
        (9, ["q1", "a1", "q2", "a2", "q3", "a3"], 0),
    ],
)
def test_a_window_keeps_the_newest_turns_and_counts_the_others(turns: int, kept: list[str], dropped: int) -> None:
    context = Window(turns=turns).run(Turn("a", user("q4"), number=4), told(3))
    assert ([message.text for message in context.messages], context.dropped) == (kept, dropped)


def test_update_commits_reply_and_state() -> None:
    store, turn = told(0), Turn("a", user("q1"), number=1)
    store.begin(turn)
    Update().run(turn, reply("a1"), Context(state={"mood": "calm"}), store)
    assert store.turns("a")[0].reply == reply("a1")
    assert store.state("a") == {"mood": "calm"}


def test_chat_puts_the_system_message_first_and_the_turn_last() -> None:
    prompt = Chat(system="Be brief.").run(Turn("a", user("new")), Context((user("old"), assistant("said"))))
    assert prompt == Prompt((system("Be brief."), user("old"), assistant("said"), user("new")))
    assert Chat().run(Turn("a", user("new")), Context()) == Prompt((user("new"),))


def test_a_schedule_is_the_sampling_with_its_own_changes() -> None:
    schedule = FromSampling(set={"temperature": 0.0}).run(Sampling(temperature=0.9, top_p=0.5))
    assert schedule.at(0) == schedule.at(99) == Sampling(temperature=0.0, top_p=0.5)


def test_generate_makes_one_completion_and_sample_several() -> None:
    engine, prompt = fakes.FakeOptions().open(), Prompt((user("two words"),))
    one = asyncio.run(Generate().run(prompt, Schedule(Sampling()), engine))
    several = asyncio.run(Sample().run(prompt, Schedule(Sampling(n=3)), engine))
    assert one.text == "two words "
    assert [completion.text for completion in several] == ["two words "] * 3


def test_a_stream_without_an_end_is_an_error() -> None:
    engine = fakes.FakeOptions().open()
    with pytest.raises(EngineError) as caught:
        asyncio.run(Generate().run(Prompt((user("unfinished"),)), Schedule(Sampling()), engine))
    assert str(caught.value) == "the engine ended a stream without its finish. Report this to the engine's author."


@pytest.mark.parametrize(
    ("answer", "texts", "winner"),
    [
        (None, ["Yes.", "no", " YES. "], 0),
        (None, ["b", "a", "a", "b"], 0),
        (r"-?\d+", ["it is 4", "so 5", "4 + 1 = 5"], 1),
        (r"\d+", ["none", "nothing", "9"], 2),
        (r"\d+", ["none", "nothing"], 0),
    ],
)
def test_a_vote_is_won_by_the_answer_most_candidates_give(answer: str | None, texts: list[str], winner: int) -> None:
    candidates = tuple(reply(text) for text in texts)
    assert Vote(answer).run(candidates) is candidates[winner]


def test_the_best_has_the_highest_score_and_of_equals_comes_first() -> None:
    candidates = (reply("a"), reply("b"), reply("c"))
    assert Best().run(candidates, (Score(0), Score(2), Score(2))).text == "b"
    with pytest.raises(EngineError) as caught:
        Best().run(candidates, (Score(0),))
    assert str(caught.value) == "3 candidates have 1 scores. Give every candidate one score."


def test_likelihood_is_the_mean_log_probability_and_needs_one() -> None:
    assert Likelihood().run(reply("a", logprobs=(-1.0, -3.0))) == Score(-2.0)
    with pytest.raises(EngineError) as caught:
        Likelihood().run(reply("a"))
    assert str(caught.value) == ("the completion carries no log-probabilities. Set `logprobs: true` where it is made.")
