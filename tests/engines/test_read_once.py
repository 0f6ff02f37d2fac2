"""What prompts have in common is read once: of one tenant, to the token, and as far as a template lets it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from tests.engines.looping import LONG, SHAPE, STRIPPING, ids, job, run
from vllm_flow.core.messages import assistant, user
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Prompt, Request
from vllm_flow.engines.transformers.load import Loaded, load
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.engines.transformers.network import Span
from vllm_flow.engines.transformers.prefix import PrefixCache
from vllm_flow.engines.transformers.render import Renderer
from vllm_flow.engines.transformers.row import Job
from vllm_flow.models.random_weights import build_tokenizer
from vllm_flow.models.spec import Model


def test_a_prompt_is_read_again_only_from_where_it_differs(loaded: Loaded) -> None:
    loop = Loop(loaded, Limits())

    def cached(text: str) -> tuple[int, int]:
        (tokens,) = run(loop, [job(text)]).values()
        finish = tokens[-1].finish
        assert finish
        return finish.cached_tokens, finish.usage.prompt_tokens

    assert cached(LONG)[0] == 0
    read, whole = cached(LONG)
    assert read == whole  # an equal prompt is not read again at all
    assert cached(LONG[:100] + "?")[0] == 64
    assert cached("?" + LONG)[0] == 0


def calls_of(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """How many tokens of each sequence a call reads, the longest first; of each call that will be made."""
    calls: list[list[int]] = []
    real = type(loaded.network).read

    def counting(self: Any, spans: Any) -> torch.Tensor:
        calls.append(sorted((len(span.tokens) for span in spans), reverse=True))
        return real(self, spans)

    monkeypatch.setattr(type(loaded.network), "read", counting)
    return calls


def test_a_prompt_is_read_at_once_unless_somebody_waits_for_a_next_token(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = calls_of(loaded, monkeypatch)
    whole = len(loaded.renderer.ids(Prompt((user(LONG),))))
    assert whole > 128
    run(Loop(loaded, Limits()), [job(LONG)])
    assert calls[0] == [whole]
    calls.clear()
    run(Loop(loaded, Limits(prefill_tokens=150)), [job(LONG)])
    assert calls[:2] == [[128], [whole - 128]]  # whole pieces of what a step may read
    calls.clear()
    run(Loop(loaded, Limits(prefill_tokens=200)), [job(LONG), job("?" + LONG)])
    assert calls[0] == [128, 64]  # each has a piece before one has two
    calls.clear()
    run(Loop(loaded, Limits()), [job("first", tokens=50, min_tokens=50), job(LONG)], every=2)
    assert calls[2:5] == [[64, 1], [64, 1], [whole - 128, 1]]
    calls.clear()
    short = len(loaded.renderer.ids(Prompt((user("short"),))))
    run(Loop(loaded, Limits()), [job(LONG), job("short", tokens=1)])
    assert calls[:2] == [[64, short], [whole - 64]]  # a prompt that ends is answered without the other's delay
    calls.clear()
    loop = Loop(loaded, Limits())
    run(loop, [job("short", tokens=1)])
    run(loop, [job("short", tokens=1), job(LONG)])
    assert calls[:3] == [[short], [64], [whole - 64]]  # and so is one that is known


def test_pieces_that_there_is_no_memory_for_at_once_are_read_one_by_one(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = calls_of(loaded, monkeypatch)
    (wanted,) = run(Loop(loaded, Limits()), [job(LONG)]).values()
    counting = type(loaded.network).read

    def narrow(self: Any, spans: Any) -> torch.Tensor:
        if any(len(span.tokens) > 64 for span in spans):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return counting(self, spans)

    monkeypatch.setattr(type(loaded.network), "read", narrow)
    calls.clear()
    (found,) = run(Loop(loaded, Limits()), [job(LONG)]).values()
    assert max(map(max, calls)) == 64
    assert [token.id for token in found] == [token.id for token in wanted]


def test_what_one_tenant_has_asked_serves_no_other(loaded: Loaded) -> None:
    loop = Loop(loaded, Limits())

    def cached(tenant: str) -> tuple[int, int | None]:
        asked = job(LONG)
        asked.request = dataclasses.replace(asked.request, tenant=tenant)
        finish = run(loop, [asked])[asked][-1].finish
        assert finish
        return finish.cached_tokens, finish.reuse_stopped_at

    whole = len(loaded.renderer.ids(Prompt((user(LONG),))))
    assert [cached("ann"), cached("ben"), cached("")] == [(0, 0)] * 3
    assert [cached("ann"), cached("ben"), cached("")] == [(whole, None)] * 3
    both = [dataclasses.replace(job(LONG + "!").request, tenant=one) for one in ("ann", "cid")]
    jobs = [Job(one, loop=None) for one in both]  # type: ignore[arg-type]
    found = run(loop, jobs)  # side by side too
    assert [found[one][-1].finish.cached_tokens for one in jobs] == [128, 0]


def test_a_tenant_of_whom_nothing_is_remembered_leaves_nothing() -> None:
    cache = PrefixCache(limit=100)
    for number in range(9):
        cache.add(cache.root(f"tenant {number}"), (1,), [torch.zeros(1, 1, 1, 20)], None)
    assert (cache.bytes, len(cache._roots)) == (80, 1)


def stopped(loop: Loop, prompt: Prompt) -> tuple[int, int | None, int]:
    """Of a prompt: how much was cached, where reuse stopped, and how long it is."""
    asked = Job(Request(prompt, Schedule(Sampling(max_tokens=1))), loop=None)  # type: ignore[arg-type]
    finish = run(loop, [asked])[asked][-1].finish
    assert finish
    return finish.cached_tokens, finish.reuse_stopped_at, finish.usage.prompt_tokens


def test_where_reuse_stops_is_told_to_the_token(loaded: Loaded) -> None:
    """A token is a byte here, and six stand before the first message's text."""
    loop = Loop(loaded, Limits())

    def of(text: str) -> tuple[int, int | None, int]:
        return stopped(loop, Prompt((user(text),)))

    whole = len(LONG) + 6 + 13
    assert of(LONG) == (0, 0, whole)
    assert of(LONG) == (whole, None, whole)
    assert of(f"{LONG[:100]}?")[:2] == (64, 106)
    assert of(f"{LONG[:30]}?")[:2] == (0, 36)
    assert of(f"{LONG[:100]}!")[:2] == (64, 106)
    assert of("?")[:2] == (0, 6)
    assert stopped(loop, Prompt((user(LONG), assistant("No."), user("Why?"))))[:2] == (128, whole)


def test_a_template_that_rewrites_history_is_seen_in_where_reuse_stops() -> None:
    loaded = load(Model("random", architecture=SHAPE), "cpu", "float32")
    answer = assistant("<think>Well, it may be so.</think>It is so.")
    said, tokenizer = (user(LONG[:80]), answer, user("Why?"), answer, user("Indeed?")), build_tokenizer()
    for template, rewritten in ((tokenizer.chat_template, False), (STRIPPING, True)):
        tokenizer.chat_template = template
        loop = Loop(dataclasses.replace(loaded, renderer=Renderer(tokenizer)), Limits())
        before = stopped(loop, Prompt(said[:3]))[2]
        cached, stop, _ = stopped(loop, Prompt(said))
        assert stop is not None
        assert cached <= stop
        assert stop == (6 + 80 + 2 + 11 if rewritten else before)
    loaded.network.close()


def test_the_history_of_a_conversation_is_not_read_again(loaded: Loaded) -> None:
    loop = Loop(loaded, Limits())
    run(loop, [job(LONG)])
    history = (user(LONG), assistant("No."), user("And then?"))
    asked = Job(Request(Prompt(history), Schedule(Sampling(max_tokens=2))), loop=None)  # type: ignore[arg-type]
    finish = run(loop, [asked])[asked][-1].finish
    assert finish is not None
    assert finish.cached_tokens == 128


def test_one_prompt_of_many_answers_is_read_once(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = type(loaded.network).read

    def counting(self: Any, spans: list[Span]) -> torch.Tensor:
        read.extend(len(span.tokens) for span in spans)
        return real(self, spans)

    monkeypatch.setattr(type(loaded.network), "read", counting)
    prompt = len(loaded.renderer.ids(Prompt((user(LONG),))))
    answers = run(Loop(loaded, Limits()), [job(LONG, seed, tokens=4, stop=()) for seed in range(16)])
    decoded = sum(len(tokens) - 1 for tokens in answers.values())
    assert sum(read) == prompt + decoded
    assert len({tuple(ids(tokens)) for tokens in answers.values()}) > 8
