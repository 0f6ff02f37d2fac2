"""Sessions that differ in sampling: one engine, no memory of each other, and noise that belongs to the question."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import vllm_flow
from vllm_flow.adapters.variants import Variants
from vllm_flow.core.errors import ConfigError, FlowError
from vllm_flow.core.messages import assistant, user
from vllm_flow.core.results import Result
from vllm_flow.session import Session

TINY = ["model=custom", "engine.device=cpu", "sampling=plain", "sampling.max_tokens=8"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(variants: Variants, text: str, times: int = 1, **how: Any) -> list[Result]:
    variant = variants.at(how.pop("sampling", {}), **how)
    turns = [variant.question((user(text),)) for _ in range(times)]
    return asyncio.run(variant.answers(turns))


def test_variants_share_an_engine_and_each_answers_with_its_own_sampling() -> None:
    with vllm_flow.load("complete", TINY, record=False) as session, Variants(session) as variants:
        short = asked(variants, "to be", sampling={"max_tokens": 2})
        long = asked(variants, "to be", sampling={"max_tokens": 5})
        assert [one[0].value.usage.completion_tokens for one in (short, long)] == [2, 5]
        assert long[0].value.token_ids[:2] == short[0].value.token_ids  # the noise is the question's
        live = [one.session.opened("engine") for one in variants._open.values()]
        assert live == [session.opened("engine")] * 2
        assert variants.at({"max_tokens": 2}) is variants.at({"max_tokens": 2})


def test_a_question_that_is_asked_again_draws_anew_and_a_seed_is_that_of_the_run() -> None:
    with vllm_flow.load("complete", TINY, record=False) as session, Variants(session) as variants:
        first, second = (one.value.token_ids for one in asked(variants, "to be", times=2))
        assert first != second
        (other,) = asked(variants, "to be", seed=3)
        assert other.value.token_ids != first
        with Variants(session) as again:
            assert [one.value.token_ids for one in asked(again, "to be", times=2)] == [first, second]


def test_what_a_store_holds_is_neither_served_nor_added_to(place: Path) -> None:
    words = ["engine=echo", "store=sqlite", f"store.path={place / 'kept.sqlite'}"]
    with vllm_flow.load("dialogue", words, record=False) as session, Variants(session) as variants:
        assert [one.text for one in asked(variants, "to be or not", sampling={"max_tokens": 2})] == ["to be"]
        assert [one.text for one in asked(variants, "to be or not", sampling={"max_tokens": 3})] == ["to be or"]
        assert session.opened("store").last_conversation() is None


def test_messages_before_the_question_stand_before_it() -> None:
    with vllm_flow.load("dialogue", ["engine=echo"], record=False) as session, Variants(session) as variants:
        turn = variants.at({}).question((user("a"), assistant("b"), user("c")))
    assert (turn.history, turn.message) == ((user("a"), assistant("b")), user("c"))


def test_log_probabilities_are_asked_of_the_node_that_answers() -> None:
    with vllm_flow.load("dialogue", ["engine=echo"], record=False) as session, Variants(session) as variants:
        (answer,) = asked(variants, "to be", logprobs=True, top_logprobs=1)
        assert answer.value.logprobs == (0.0, 0.0)
        assert [len(one.alternatives) for one in answer.value.likelihoods] == [1, 1]
    with vllm_flow.load("best_of", ["engine=echo"], record=False) as session, pytest.raises(FlowError) as caught:
        Variants(session).at({}, logprobs=True)
    assert str(caught.value) == (
        "logprobs: the output of the pipeline 'best_of' is made by select/vote, which gives no log-probabilities. "
        "Leave them out, or choose a pipeline that ends in infer/generate."
    )


def test_what_the_engine_cannot_honour_is_refused() -> None:
    with vllm_flow.load("complete", ["engine=echo"], record=False) as session, pytest.raises(ConfigError) as caught:
        Variants(session).at({"min_tokens": 3, "top_p": 2})
    assert str(caught.value).startswith("sampling.top_p")


def test_closing_closes_the_variants_and_not_the_session() -> None:
    with vllm_flow.load("dialogue", ["engine=echo"], record=False) as session:
        with Variants(session) as variants:
            one: Session = variants.at({}).session
            one.run("a")
        with pytest.raises(FlowError, match="the session is closed"):
            one.run("b")
        assert session.run("c").text == "c"
