"""A long conversation under each policy: never over budget, at a cost that does not grow, and nothing told is lost.

The whole way is gone: configuration, runner, store, fuser and engine, of which the echo engine needs no weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from vllm_flow.config import compose
from vllm_flow.core.events import Called, Event, Inferred, NodeDone
from vllm_flow.core.messages import user
from vllm_flow.core.values import Context, Prompt, Turn
from vllm_flow.session import Session

BUDGET = 100
"""Less than eight turns take."""
POLICIES = {
    "window": ["context=window"],
    "window in tokens": ["context=window", "context.turns=null", "context.tokens=120"],
    "window in steps": ["context=window", "context.step=4"],
    "sink": ["context=sink"],
    "summary": ["context=summary", "context.max_tokens=40"],
    "facts": ["context=facts"],
    "story": ["context=story", "context.max_tokens=40"],
}
"""Those that promise a bound."""
NEEDLE = "locker code: 4821"


class Watch:
    """What each turn cost, and what it read."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []
        self.contexts: list[Context] = []
        self.tokens: list[int] = []
        """Read for each turn, those of what the policy itself asked included."""

    def __call__(self, event: Event) -> None:
        match event:
            case NodeDone(_, "prompt", value):
                self.prompts.append(value)
            case NodeDone(_, "context", value):
                self.contexts.append(value)
            case Inferred(turn=turn, usage=usage):
                while len(self.tokens) < (turn.number or 0):
                    self.tokens.append(0)
                self.tokens[-1] += usage.prompt_tokens or 0
            case Called():
                pass


@contextmanager
def talking(*choices: str) -> Iterator[tuple[Session, Watch]]:
    watch = Watch()
    spec = compose(["pipeline=dialogue", "engine=echo", "sampling.max_tokens=24", *choices])
    with Session(spec, record=False, observers=[watch]) as session:
        yield session, watch


def said(number: int) -> str:
    """What the user says: of varied length, a fact at the third turn."""
    return (
        NEEDLE if number == 3 else f"turn {number} " + " ".join(f"w{number * 7 + one}" for one in range(number % 5 + 4))
    )


def talk(session: Session, turns: int) -> None:
    for number in range(1, turns + 1):
        session.run(Turn("long", user(said(number))))


def check_long(policy: str, turns: int) -> None:
    with talking(*POLICIES[policy], f"graph.prompt.budget={BUDGET}") as (session, watch):
        talk(session, turns)
    assert len(watch.prompts) == turns
    assert all(prompt.ledger is not None for prompt in watch.prompts)
    sizes = [prompt.ledger.tokens for prompt in watch.prompts if prompt.ledger is not None]
    assert 0.8 * BUDGET < max(size or 0 for size in sizes) <= BUDGET
    middle, end = watch.tokens[turns // 3 : 2 * turns // 3], watch.tokens[2 * turns // 3 :]
    assert abs(sum(end) / len(end) - sum(middle) / len(middle)) < 0.1 * sum(middle) / len(middle)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_long_conversation_stays_within_its_budget_at_a_cost_that_does_not_grow(policy: str) -> None:
    check_long(policy, 60)


@pytest.mark.full
@pytest.mark.parametrize("policy", POLICIES)
def test_two_hundred_turns_stay_within_their_budget_at_a_cost_that_does_not_grow(policy: str) -> None:
    check_long(policy, 200)


def test_what_leaves_nothing_out_costs_more_with_every_turn() -> None:
    with talking("context=full") as (session, watch):
        talk(session, 30)
    assert watch.tokens == sorted(watch.tokens)
    assert watch.tokens[-1] > 8 * watch.tokens[2]


@pytest.mark.parametrize(("policy", "there"), [("full", True), ("facts", True), ("window", False), ("sink", False)])
def test_a_fact_told_at_turn_3_is_in_the_prompt_at_turn_100_under_full_and_facts(policy: str, there: bool) -> None:
    with talking(f"context={policy}") as (session, watch):
        talk(session, 100)
    text = "\n".join(message.text for message in watch.prompts[-1].messages)
    assert (NEEDLE in text) is there


@pytest.mark.parametrize(("policy", "jumps"), [("context.step=1", 21), ("context.step=4", 6)])
def test_a_window_in_steps_begins_anew_only_at_every_step(policy: str, jumps: int) -> None:
    with talking("context=window", policy) as (session, watch):
        talk(session, 30)
    begins = [prompt.messages[0].text for prompt in watch.prompts]
    assert sum(one != other for one, other in pairwise(begins)) == jumps
