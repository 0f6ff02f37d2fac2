"""Budgets in tokens and in money: how long the next answer may be, and when there is none."""

from __future__ import annotations

import random
from typing import Any

import pytest

from vllm_flow.core.errors import EngineError, FlowError
from vllm_flow.core.moving import Now
from vllm_flow.core.sampling import NEUTRAL
from vllm_flow.core.sampling_plan import STATE, SamplingPlan
from vllm_flow.core.schedule import Schedule
from vllm_flow.schedules import Budget
from vllm_flow.testing import turn

from .driving import driven, refused


def talk(made: Budget, new_tokens: int) -> tuple[list[int], int, int]:
    """A conversation whose prompts hold all that was said, to its end: the answers' limits, all read and written."""
    lengths, prompt, read, written, state = list[int](), 0, 0, 0, None
    while True:
        now = Now(turn=len(lengths) + 1, state=state, used_prompt_tokens=read, used_answer_tokens=written)
        try:
            given = made.at(now)
        except FlowError:
            return lengths, read, written
        lengths.append(int(given.value))
        prompt += new_tokens
        read, written, state = read + prompt, written + lengths[-1], given.state
        prompt += lengths[-1]


@pytest.mark.parametrize("share", [1.0, 0.4, 0.1])
def test_a_conversation_ends_with_its_budget(share: float) -> None:
    """Beyond it goes at most what the last prompt grew by: the answer before it and the new message."""
    rng = random.Random(6)
    for _ in range(100):
        budget, most, new = rng.randrange(500, 20_000), rng.randrange(10, 400), rng.randrange(1, 60)
        lengths, read, written = talk(Budget(most, tokens=budget, share=share), new)
        assert 1 <= min(lengths) <= max(lengths) <= most
        assert read + written <= budget + new + lengths[-2] if len(lengths) > 1 else budget + new
        assert lengths[0] == min(most, int(share * budget))


def test_with_a_share_answers_get_shorter_towards_the_end() -> None:
    lengths, *_ = talk(Budget(most=400, tokens=4000, share=0.1), 10)
    assert lengths == [400, 358, 239, 99]  # of 4000, 3580, 2390 and 990 that are left for an answer


def test_money_is_counted_by_the_prices_per_million_tokens() -> None:
    made = Budget(most=1000, money=0.05, prompt_price=2.0, answer_price=10.0)
    used = {"used_prompt_tokens": 6000, "used_answer_tokens": 1500}  # 0.012 and 0.015 are paid
    assert made.at(Now(turn=3, state=4000, **used)).value == 1000  # type: ignore[arg-type]
    used = {"used_prompt_tokens": 9000, "used_answer_tokens": 2000}  # 0.018 and 0.02, and 0.005 for the next prompt
    assert made.at(Now(turn=4, state=6500, **used)).value == 700  # type: ignore[arg-type]
    free = Budget(most=50, money=0.001, prompt_price=1.0)
    assert free.at(Now(used_prompt_tokens=500)).value == 50  # answers cost nothing
    with pytest.raises(FlowError):
        free.at(Now(used_prompt_tokens=1000))


@pytest.mark.parametrize(
    ("made", "now", "words"),
    [
        (
            Budget(most=100, tokens=1000),
            Now(turn=4, state=500, used_prompt_tokens=700, used_answer_tokens=150),
            "the budget of 1000 tokens is spent: 850 tokens for 3 turns and 200 tokens for the next prompt leave no "
            "answer. Raise it, or begin another conversation.",
        ),
        (
            Budget(most=100, money=0.02, prompt_price=2.5, answer_price=10.0, least=20),
            Now(turn=2, state=0, used_prompt_tokens=3000, used_answer_tokens=490),
            "the budget of 0.02 in money is spent: 0.0124 in money for 1 turns and 0.0075 in money for the next prompt "
            "leave no answer of 20 tokens. Raise it, or begin another conversation.",
        ),
        (
            Budget(most=100, tokens=1000),
            Now(turn=2, used_prompt_tokens=None, used_answer_tokens=None),
            "the engine does not tell how many tokens it used. Set a number, or choose another engine.",
        ),
    ],
)
def test_a_budget_that_is_spent_says_so(made: Budget, now: Now, words: str) -> None:
    with pytest.raises(FlowError) as caught:
        made.at(now)
    assert str(caught.value) == words


def test_the_turn_fails_with_the_parameter_s_name_before_it() -> None:
    plan = SamplingPlan().changed({"max_tokens": {"budget": {"most": 9, "tokens": 100}}})
    state = {STATE: {"last": {"max_tokens": [9, 40]}, "used_prompt_tokens": 80, "used_answer_tokens": 18}}
    with pytest.raises(EngineError) as caught:
        plan.schedule(turn("more", number=3), state)
    assert str(caught.value).startswith("sampling.max_tokens: the budget of 100 tokens is spent: 98 tokens for 2 turns")


def test_what_was_used_adds_up_and_what_is_not_told_stays_unknown() -> None:
    first = Schedule(NEUTRAL, keeps={"max_tokens": (9, 0)}).after(12, 5)
    assert (first["used_prompt_tokens"], first["used_answer_tokens"]) == (12, 5)
    plan = SamplingPlan().changed({"max_tokens": {"budget": {"most": 9, "tokens": 100}}})
    second = plan.schedule(turn("more", number=2), {STATE: first}).after(None, 4)
    assert (second["used_prompt_tokens"], second["used_answer_tokens"]) == (None, 9)
    with pytest.raises(EngineError) as caught:
        plan.schedule(turn("more", number=3), {STATE: second})
    assert str(caught.value).startswith("sampling.max_tokens: the engine does not tell how many tokens it used.")


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (Budget(9), [": it takes either `tokens` or `money`. Set one of the two."]),
        (Budget(9, tokens=9, money=1.0), [": it takes either `tokens` or `money`. Set one of the two."]),
        (Budget(9, money=1.0), ["money: nothing has a price. Set `prompt_price` and `answer_price`."]),
        (Budget(9, tokens=9, answer_price=1.0), ["tokens: prices mean nothing to a budget in tokens. Remove them, or set `money`."]),
        (Budget(9, tokens=8, least=9), ["least: 9 tokens are more than the first answer may have. Lower it."]),
        (Budget(9, tokens=80, least=10), ["least: 10 tokens are more than the first answer may have. Lower it."]),
        (Budget(9, tokens=9, least=9), []),
    ],
)  # fmt: skip
def test_what_is_no_budget_is_refused(made: Budget, words: list[str]) -> None:
    assert refused(made) == words


def test_it_steers_max_tokens_alone() -> None:
    (found,) = SamplingPlan.option_problems({"min_tokens": {"budget": {"most": 9, "tokens": 90}}})
    assert found.problem == "'budget' steers max_tokens, and nothing else. Write it there."
    values: list[Any] = driven(Budget(9, tokens=90), [{}] * 3)
    assert values == [9, 9, 9]
