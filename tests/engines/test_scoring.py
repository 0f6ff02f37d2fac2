"""Scoring: a given text has the probabilities that transformers' own forward pass gives it, alone and in any company."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from vllm_flow.core.errors import ContextOverflow, EngineError, FlowError
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.resources import Engine
from vllm_flow.core.taking import score
from vllm_flow.core.values import Before, Completion, Prompt, Request
from vllm_flow.engines.transformers.load import Loaded, load
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.engines.transformers.network import Network
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.engines.transformers.row import Job
from vllm_flow.engines.transformers.scoring import ScoreRequest
from vllm_flow.models.random_weights import build_tokenizer
from vllm_flow.models.spec import Architecture, Model
from vllm_flow.stages.infer import complete
from vllm_flow.testing import ask, prompt, schedule

from .looping import LONG, job, run

SHAPE = Architecture(32, 2, 4, kv_heads=2, max_context=600)
SAID = "It was the best of times, it was the worst of times. " * 3
"""Longer than two pieces."""


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def loaded(request: pytest.FixtureRequest) -> Iterator[Loaded]:
    found = load(Model("random", architecture=SHAPE), "cpu", request.param)
    yield found
    found.network.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Transformers(Model("random", architecture=SHAPE)).open()
    yield engine
    engine.close()


def scoring(text: str | tuple[int, ...], before: Prompt | None = None) -> Job[Any, Any]:
    return Job(ScoreRequest(before, text), loop=None)  # type: ignore[arg-type]  # nobody waits


def scored(loop: Loop, *jobs: Job[Any, Any]) -> list[Scored]:
    """What the jobs are given, one item each."""
    for one in jobs:
        loop.add(one)
    found: dict[Job[Any, Any], list[Any]] = {one: [] for one in jobs}
    while not loop.idle:
        for one, item in loop.step():
            if isinstance(item, Exception):
                raise item
            found.setdefault(one, []).append(item)
    assert all(len(items) == 1 for one, items in found.items() if one in jobs)
    return [found[one][0] for one in jobs]


def forward(model: Any, ids: list[int], first: int) -> tuple[list[float], list[float]]:
    """Log-probabilities and entropies of all tokens from `first` on, as transformers' own forward pass has them."""
    with torch.inference_mode():
        logs = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)[first - 1 : -1]
    logprobs = logs.gather(-1, torch.tensor(ids[first:])[:, None])[:, 0].tolist()
    return logprobs, (-(logs.exp() * logs).sum(-1)).tolist()


@pytest.mark.parametrize("family", [*tiny.FAMILIES, *tiny.PLAIN])
def test_scores_are_those_of_the_forward_pass_for_every_family(family: str, tmp_path: Path) -> None:
    engine = Transformers(Model("tiny", path=str(tiny.save(tmp_path, family))), dtype="float32").open()
    model, tokenizer = tiny.build(family), build_tokenizer()
    said = SAID[:100]
    for before in (prompt("Say it, " + LONG[:70]), prompt("Hi"), None):
        found = asyncio.run(score(engine, before, said))
        ids = list(found.token_ids)
        assert ids == tokenizer.encode(said, add_special_tokens=False)
        read = (
            tokenizer.apply_chat_template(
                [{"role": "user", "content": before.messages[0].text}], add_generation_prompt=True, return_dict=False
            )
            if before
            else [tokenizer.bos_token_id]
        )
        assert found.prompt_tokens == len(read) == (engine.count(before) if before else 1)
        logprobs, entropies = forward(model, [*read, *ids], len(read))
        assert found.logprobs == pytest.approx(logprobs, abs=2e-3)
        assert found.entropies == pytest.approx(entropies, abs=2e-3)
    engine.close()


def test_token_ids_before_a_text_are_read_as_they_are(engine: Any) -> None:
    before = prompt(LONG[:50])
    ids = tuple(engine.prompt_ids(before))
    assert engine.decode(ids) == engine.decode(engine.encode(engine.prompt_text(before)))
    assert asyncio.run(engine.score(ids, "yes")) == asyncio.run(engine.score(before, "yes"))
    assert asyncio.run(engine.score((), "yes")) == asyncio.run(engine.score(None, "yes"))
    assert refusal(engine, (1, -1), "yes").startswith("the text to score: -1 is no token of this model")


def test_a_token_is_greedy_if_decoding_would_have_taken_it(engine: Engine) -> None:
    answer = ask(engine, "What next?", temperature=0, max_tokens=6)
    other = (answer.token_ids[2] + 1) % 200
    assert asyncio.run(score(engine, prompt("What next?"), answer.token_ids)).greedy == (True,) * 6
    changed = (*answer.token_ids[:2], other, *answer.token_ids[3:])
    assert asyncio.run(score(engine, prompt("What next?"), changed)).greedy[:3] == (True, True, False)


def test_a_generated_answer_scores_as_it_was_generated(engine: Engine) -> None:
    answer = ask(engine, LONG[:50], logprobs=True, max_tokens=80, seed=3)
    found = asyncio.run(score(engine, prompt(LONG[:50]), answer.token_ids))
    assert answer.logprobs
    assert answer.likelihoods
    assert found.logprobs == pytest.approx(answer.logprobs, abs=1e-4)
    assert found.entropies == pytest.approx([one.raw_entropy for one in answer.likelihoods], abs=1e-4)


def test_a_model_without_a_beginning_does_not_count_the_first_token(tmp_path: Path) -> None:
    folder = tiny.save(tmp_path, "Qwen2")
    tokenizer = build_tokenizer()
    tokenizer.bos_token = None
    tokenizer.save_pretrained(folder)
    engine = Transformers(Model("tiny", path=str(folder)), dtype="float32").open()
    ids = tokenizer.encode(SAID, add_special_tokens=False)
    for before in (None, Prompt(())):
        found = asyncio.run(score(engine, before, SAID))
        assert (list(found.token_ids), found.prompt_tokens) == (ids[1:], 1)
        assert found.logprobs == pytest.approx(forward(tiny.build("Qwen2"), ids, 1)[0], abs=1e-3)
    assert refusal(engine, None, tuple(ids[:1])) == (
        "the text to score: nothing stands before its only token, and this model has none that begins a text. "
        "Give a longer text, or a prompt."
    )
    engine.close()


def refusal(engine: Engine, before: Before, text: str | tuple[int, ...]) -> str:
    with pytest.raises(FlowError) as caught:
        asyncio.run(score(engine, before, text))
    return str(caught.value)


def test_what_cannot_be_scored_is_refused_in_words(engine: Engine) -> None:
    assert refusal(engine, None, "") == "the text to score: it has no tokens. Give a text."
    vocab = load(Model("random", architecture=SHAPE)).network.model.config.vocab_size
    assert refusal(engine, None, (1, vocab)) == (
        f"the text to score: {vocab} is no token of this model, whose ids are 0 to {vocab - 1}. "
        "Give the ids of its own tokenizer."
    )
    with pytest.raises(ContextOverflow) as caught:
        asyncio.run(score(engine, None, "x" * 601))
    assert str(caught.value) == (
        "the prompt has 1 tokens and the text to score 601, but the model reads 600. "
        "Score a shorter text, or choose a model that reads more."
    )
    assert len(asyncio.run(score(engine, None, "x" * 600)).token_ids) == 600


def test_scores_are_bitwise_the_same_in_company_and_whatever_is_remembered(loaded: Loaded) -> None:
    assert loaded.facts["deterministic"] is True
    cases = [(SAID, prompt(LONG)), (SAID, None), ("No.", prompt(LONG)), (SAID[:70], prompt("Hi"))]
    alone = [scored(Loop(loaded, Limits(prefix_bytes=0)), scoring(*case))[0] for case in cases]
    loop = Loop(loaded, Limits(rows=7, prefill_tokens=100))
    crowd = [job(f"question {place} {'x' * (place * 13 % 90)}", place, tokens=3 + place) for place in range(12)]
    texts = run(Loop(loaded, Limits()), crowd)
    jobs = [scoring(*case) for case in cases]
    found: dict[Any, list[Any]] = {one: [] for one in (*crowd, *jobs)}
    for one in (*crowd[:4], *jobs[:2], *crowd[4:], *jobs[2:]):
        loop.add(one)
    while not loop.idle:
        for one, item in loop.step():
            found[one].append(item)
    assert [found[one] for one in jobs] == [[one] for one in alone]
    assert [[token.id for token in found[one]] for one in crowd] == [
        [token.id for token in texts[one]] for one in crowd
    ]
    assert scored(loop, *(scoring(*case) for case in cases)) == alone  # with the prompts in the prefix cache
    assert isinstance(loaded.network, Network)
    assert loaded.network.kv.held == []


def test_a_prompt_is_read_once_for_all_that_is_scored_after_it(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    most: list[int] = []
    real = type(loaded.network).read

    def counting(self: Any, spans: Any) -> torch.Tensor:
        read.extend(len(span.tokens) for span in spans)
        logits = real(self, spans)
        most.append(len(logits))
        return logits

    monkeypatch.setattr(type(loaded.network), "read", counting)
    whole = len(loaded.renderer.ids(prompt(LONG)))
    jobs = [scoring(text, prompt(LONG)) for text in ("yes", "no", "perhaps")]
    scored(Loop(loaded, Limits()), *jobs)
    shared = whole - whole % 64  # the piece in which a prompt ends is read with what follows it
    assert sum(read) == shared + sum(whole - shared + len(text) - 1 for text in ("yes", "no", "perhaps"))
    read.clear(), most.clear()
    scored(Loop(loaded, Limits(prefill_tokens=64)), scoring("x" * 500))
    assert sum(read) == 500
    assert max(most) == 64  # logits of one piece at a time


def test_logits_that_are_no_numbers_fail_the_score_alone(tmp_path: Path) -> None:
    network = tiny.build("Llama")
    with torch.no_grad():
        network.model.embed_tokens.weight[build_tokenizer().encode("Z")] = float("nan")
    engine = Transformers(Model("broken", path=str(tiny.save(tmp_path, "Llama", network)))).open()
    assert refusal(engine, None, "abZab") == (
        "the model's logits are not finite at tokens 0 to 4 of the text to score. Choose dtype=float32, or other weights."
    )
    assert math.isfinite(asyncio.run(score(engine, None, "abab")).logprob)
    engine.close()


def test_a_score_can_be_cancelled_and_closing_fails_it() -> None:
    async def go() -> tuple[Any, Any, Any]:
        engine = Transformers(Model("random", architecture=SHAPE)).open()
        tasks = [asyncio.create_task(score(engine, None, SAID)) for _ in range(30)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        answer = await complete(engine, Request(prompt("hi"), schedule(max_tokens=2)))
        await asyncio.to_thread(engine.close)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        return answer, found[3], {type(one) for place, one in enumerate(found) if place != 3}

    answer, cancelled, others = asyncio.run(go())
    assert isinstance(answer, Completion)
    assert isinstance(cancelled, asyncio.CancelledError)
    assert others <= {Scored, EngineError}


def test_smollm2_finds_english_more_probable_than_its_words_in_disorder(smollm2: Path) -> None:
    engine = Transformers(Model("smollm2", path=str(smollm2))).open()
    plain = asyncio.run(score(engine, None, "The sun rises in the east and sets in the west."))
    shuffled = asyncio.run(score(engine, None, "The the in and sets east west rises sun in the."))
    asked = prompt("What is the capital of France?")
    right, wrong = (
        asyncio.run(score(engine, asked, f"The capital of France is {city}.")) for city in ("Paris", "Rome")
    )
    engine.close()
    assert 1 < plain.perplexity < 60
    assert shuffled.perplexity > 5 * plain.perplexity
    assert right.logprob > wrong.logprob + 3
