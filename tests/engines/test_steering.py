"""What steers an answer through the transformers engine: bias, bad words, min tokens, DRY, and what a schedule changes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests import tiny
from vllm_flow.core.errors import EngineError
from vllm_flow.core.resources import Engine
from vllm_flow.core.sampling import NEUTRAL
from vllm_flow.core.values import Completion, Request
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.random_weights import build_tokenizer
from vllm_flow.models.spec import Model
from vllm_flow.stages.infer import complete
from vllm_flow.testing import ask, prompt, schedule
from vllm_flow.testing.engine_promises import TAME

TOKENIZER = build_tokenizer()
(END,) = TOKENIZER.encode("<|im_end|>")
A, B, C = TOKENIZER.encode("abc")
LETTERS = {A: 60.0, B: 60.0, C: 60.0}
"""With these the answer is made of three letters."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tiny.save(tmp_path_factory.mktemp("tiny"), "Llama")
    engine = Transformers(Model("tiny", path=str(folder)), threads=1).open()
    yield engine
    engine.close()


def greedy(engine: Engine, **sampling: Any) -> Completion:
    return ask(engine, "hi", **{"temperature": 0, "max_tokens": 24, **sampling})


def changing(engine: Engine, token: int, then: Mapping[str, float], **sampling: Any) -> Completion:
    """The answer with other values from some token on."""
    now = {"temperature": 0, "max_tokens": 24, **sampling}
    moved = {name: from_token(token, now.get(name, getattr(NEUTRAL, name)), value) for name, value in then.items()}
    return ask(engine, "hi", **{**now, **moved})


def from_token(token: int, before: float, value: float) -> dict[str, Any]:
    return {"piecewise": {"points": [[0, before], [token, value]], "between": "hold"}}


def test_the_greatest_bias_forces_a_token(engine: Engine) -> None:
    assert greedy(engine, logit_bias={B: 100.0}, max_tokens=5).text == "bbbbb"
    assert ask(engine, "hi", logit_bias={B: 100.0}, max_tokens=5).text == "bbbbb"


def test_a_bad_word_never_comes_though_it_is_the_greedy_choice(engine: Engine) -> None:
    free = greedy(engine, logit_bias=LETTERS).text
    assert set(free) <= set("abc")
    for word in (free[0], free[:2], free[4:7]):
        without = greedy(engine, logit_bias=LETTERS, bad_words=(word,)).text
        assert word in free
        assert word not in without
        assert len(without) == 24


def test_a_bad_word_is_sought_in_the_answer_alone(engine: Engine) -> None:
    said = greedy(engine, logit_bias={B: 100.0}, bad_words=("ib",), max_tokens=3).text  # the prompt ends otherwise
    assert said == "bbb"


def test_min_tokens_delay_the_end_of_sequence(engine: Engine) -> None:
    short = greedy(engine, logit_bias={END: 100.0})
    assert (short.usage.completion_tokens, short.finish_reason) == (1, "stop")
    long = greedy(engine, logit_bias={END: 100.0}, min_tokens=5)
    assert (long.usage.completion_tokens, long.finish_reason) == (6, "stop")
    assert END not in long.token_ids[:5]
    cut = greedy(engine, logit_bias={END: 100.0}, min_tokens=5, max_tokens=4)
    assert (cut.usage.completion_tokens, cut.finish_reason) == (4, "length")


def test_an_end_bias_lengthens_and_shortens_an_answer(engine: Engine) -> None:
    assert greedy(engine, end_bias=100.0).token_ids == (END,)
    stopped = greedy(engine, logit_bias={A: 100.0, END: 50.0}, end_bias=75.0, stop_token_ids=(B,))
    assert (stopped.token_ids, stopped.finish_reason) == ((END,), "stop")
    held = greedy(engine, logit_bias={A: 40.0, END: 100.0}, end_bias=-90.0, max_tokens=5)
    assert (held.text, held.finish_reason) == ("aaaaa", "length")
    late = greedy(engine, logit_bias={A: 40.0}, end_bias=100.0, min_tokens=3)
    assert (late.text, late.token_ids[3:], late.finish_reason) == ("aaa", (END,), "stop")


def test_a_stop_string_counts_when_a_token_after_the_min_tokens_completes_it(engine: Engine) -> None:
    def answer(**how: Any) -> tuple[str, int, str]:
        found = greedy(engine, logit_bias={A: 100.0}, max_tokens=8, **how)
        return found.text, found.usage.completion_tokens, found.finish_reason

    assert answer(stop=("aa",)) == ("", 2, "stop")
    assert answer(stop=("aa",), min_tokens=1) == ("", 2, "stop")
    assert answer(stop=("aa",), min_tokens=3) == ("aa", 4, "stop")
    assert answer(stop=("aa",), min_tokens=8) == ("a" * 8, 8, "length")


def test_a_stop_token_ends_the_answer_and_is_told_but_not_said(engine: Engine) -> None:
    free = greedy(engine, logit_bias=LETTERS)
    stop = next(one for one in free.token_ids if one != free.token_ids[0])
    place = free.token_ids.index(stop)
    found = greedy(engine, logit_bias=LETTERS, stop_token_ids=(stop,))
    assert (found.token_ids, found.text) == (free.token_ids[: place + 1], free.text[:place])
    assert (found.finish_reason, found.usage.completion_tokens) == ("stop", place + 1)
    held = greedy(engine, logit_bias=LETTERS, stop_token_ids=(stop,), stop=(free.text[:place] + "!",))
    assert held == found  # what might have become a stop string is said in the end


def test_a_stop_token_cannot_be_drawn_before_the_min_tokens(engine: Engine) -> None:
    found = greedy(engine, logit_bias={A: 100.0, B: 90.0}, stop_token_ids=(A,), min_tokens=3)
    assert (found.text, found.token_ids, found.finish_reason) == ("bbb", (B, B, B, A), "stop")


def test_dry_breaks_a_loop(engine: Engine) -> None:
    def triples(answer: Completion) -> tuple[int, int]:
        ids = answer.token_ids
        found = list(zip(ids, ids[1:], ids[2:], strict=False))
        return len(found), len(set(found))

    loop = greedy(engine, logit_bias=LETTERS)
    assert triples(loop)[1] < triples(loop)[0]
    dry = greedy(engine, logit_bias=LETTERS, dry_multiplier=1e4, dry_sequence_breakers=())
    assert set(dry.text) > set()
    assert triples(dry)[1] == triples(dry)[0]
    breakers = tuple(set(loop.text))
    assert greedy(engine, logit_bias=LETTERS, dry_multiplier=1e4, dry_sequence_breakers=breakers) == loop


def test_each_may_come_into_force_in_the_middle_of_an_answer(engine: Engine) -> None:
    free = greedy(engine, logit_bias=LETTERS)
    for then in (
        {"dry_multiplier": 1e4},
        {"presence_penalty": 100.0},
        {"temperature": 5.0, "xtc_probability": 1.0},
        {"temperature": 5.0, "typical_p": 0.5},
    ):
        found = changing(engine, 10, then, logit_bias=LETTERS)
        assert found.token_ids[:10] == free.token_ids[:10], then
        assert found.token_ids != free.token_ids, then


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"logit_bias": {260: 1.0}}, "sampling.logit_bias: 260 is no token of this model. Give ids from 0 to 259."),
        (
            {"stop_token_ids": (A, 260, 999)},
            "sampling.stop_token_ids: 260, 999 are no tokens of this model. Give ids from 0 to 259.",
        ),
        (
            {"dry_multiplier": 1.0, "dry_sequence_breakers": ("zz",)},
            "sampling.dry_sequence_breakers: no token of this model has 'zz' in it. Give texts that lie within one token, such "
            "as a single character.",
        ),
        (
            {"presence_penalty": -1e39},
            "sampling: bans and penalties leave nothing to draw from at generated token 1. Remove some bad_words, lower "
            "min_tokens, or choose smaller penalties.",
        ),
    ],
)
def test_what_a_model_cannot_do_fails_its_answer_alone(engine: Engine, how: dict[str, Any], words: str) -> None:
    plain = Request(prompt("hi"), schedule(temperature=0, max_tokens=12))
    bad = replace(plain, schedule=schedule(temperature=0, max_tokens=12, **how))

    async def together() -> list[Any]:
        asked = [complete(engine, one) for one in (plain, bad, plain)]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, failed, last = asyncio.run(together())
    assert isinstance(failed, EngineError)
    assert str(failed) == words
    assert first == last == asyncio.run(complete(engine, plain))


def test_an_answer_is_the_same_alone_and_among_others_for_each_parameter(engine: Engine) -> None:
    hows = [{name: value} for name, value in TAME.items()]
    requests = [
        Request(prompt("hi"), schedule(**{"temperature": 1.5, "max_tokens": 9, **how}), seed)
        for seed, how in enumerate(hows)
    ]

    async def all_at_once() -> list[Completion]:
        return await asyncio.gather(*(complete(engine, one) for one in requests))

    together = asyncio.run(all_at_once())
    assert [asyncio.run(complete(engine, one)) for one in requests] == together
