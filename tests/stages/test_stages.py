"""What each built-in stage does, on real values; what every stage does is in test_promises.py."""

from __future__ import annotations

import pytest

from tests import fakes
from vllm_flow.core.errors import EngineError
from vllm_flow.core.messages import assistant, system, user
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.values import Prompt, Score
from vllm_flow.stages.context import Full, Update, Window
from vllm_flow.stages.fuse import Chat, Plain
from vllm_flow.stages.infer import Generate
from vllm_flow.stages.schedule import FromSampling
from vllm_flow.stages.score import Likelihood
from vllm_flow.stages.select import Best, Vote
from vllm_flow.testing import MemoryStore, check_stage, completion, context, prompt, schedule, turn


def told(count: int) -> MemoryStore:
    """A store with `count` answered turns."""
    store = MemoryStore()
    for number in range(1, count + 1):
        asked = turn(f"q{number}", number=number)
        store.begin(asked)
        store.commit(asked, completion(f"a{number}"), {"count": number})
    return store


def test_full_context_is_all_that_was_said_and_the_state() -> None:
    found = Full().run(turn("q3", number=3), told(2))
    assert [message.text for message in found.messages] == ["q1", "a1", "q2", "a2"]
    assert found.state == {"count": 2}


def test_full_context_begins_the_turn() -> None:
    store = told(0)
    Full().run(turn("q1"), store)
    assert store.turns("test")[0].turn.message == user("q1")
    assert store.turns("test")[0].reply is None


def test_a_question_without_an_answer_is_no_history_and_an_interrupted_answer_is() -> None:
    store = told(1)
    store.begin(turn("failed", number=2))
    stopped = turn("stopped", number=3)
    store.begin(stopped)
    store.interrupt(stopped, completion("half an", "interrupted"))
    found = Full().run(turn("q4", number=4), store)
    assert [message.text for message in found.messages] == ["q1", "a1", "stopped", "half an"]


def test_messages_that_came_with_the_turn_follow_the_stored_ones() -> None:
    found = Full().run(turn("q2", number=2, history=[system("rules"), user("x"), assistant("y")]), told(1))
    assert [message.text for message in found.messages] == ["q1", "a1", "rules", "x", "y"]


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
    found = Window(turns=turns).run(turn("q4", number=4), told(3))
    assert ([message.text for message in found.messages], found.dropped) == (kept, dropped)


def test_update_commits_reply_and_state() -> None:
    store, asked = told(0), turn("q1")
    store.begin(asked)
    Update().run(asked, completion("a1"), context(state={"mood": "calm"}), store)
    assert store.turns("test")[0].reply == completion("a1")
    assert store.state("test") == {"mood": "calm"}


def test_chat_puts_the_system_message_first_and_the_turn_last() -> None:
    made = Chat(system="Be brief.").run(turn("new"), context("old", "said"))
    assert made == Prompt((system("Be brief."), user("old"), assistant("said"), user("new")))
    assert Chat().run(turn("new"), context()) == Prompt((user("new"),))


def test_plain_is_the_text_as_it_stands_after_what_came_with_it() -> None:
    found = Plain().run(turn("2 + 3 =", history=(user("1 + 1 = 2"),)))
    assert found == Prompt((user("1 + 1 = 2"), user("2 + 3 =")), plain=True)


def test_a_schedule_is_the_sampling_with_its_own_changes() -> None:
    made = FromSampling(set={"temperature": 0.0}).run(SamplingPlan(Sampling(temperature=0.9, top_p=0.5)), turn("a"))
    assert made.at(0) == made.at(99) == Sampling(temperature=0.0, top_p=0.5)


def test_a_stream_without_an_end_is_an_error() -> None:
    engine = fakes.FakeOptions().open()
    with pytest.raises(EngineError) as caught:
        check_stage(Generate(), prompt=prompt("unfinished"), schedule=schedule(), engine=engine)
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
    candidates = tuple(completion(text) for text in texts)
    assert Vote(answer).run(candidates) is candidates[winner]


def test_the_best_has_the_highest_score_and_of_equals_comes_first() -> None:
    candidates = (completion("a"), completion("b"), completion("c"))
    assert Best().run(candidates, (Score(0), Score(2), Score(2))).text == "b"
    with pytest.raises(EngineError) as caught:
        Best().run(candidates, (Score(0),))
    assert str(caught.value) == "3 candidates have 1 scores. Give every candidate one score."


def test_a_likelihood_needs_log_probabilities() -> None:
    with pytest.raises(EngineError) as caught:
        Likelihood().run(completion("a"))
    assert str(caught.value) == ("the completion carries no log-probabilities. Set `logprobs: true` where it is made.")
