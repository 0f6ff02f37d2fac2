"""Many answers in one loop: each is what it would be alone, they come and go and fail alone, and nothing leaks."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from tests.engines.looping import ids, job, run
from vllm_flow.core.errors import ContextOverflow, EngineError
from vllm_flow.core.messages import user
from vllm_flow.core.moving import Moving, Now
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Prompt, Request, Token
from vllm_flow.engines.transformers import drawing
from vllm_flow.engines.transformers.load import Loaded
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.engines.transformers.network import Network, Span
from vllm_flow.engines.transformers.row import Job


def test_rows_come_and_go_and_each_answer_is_its_own(loaded: Loaded) -> None:
    rng = random.Random(4)
    jobs = [job(f"{rng.random()} " * rng.randint(1, 6), seed, tokens=rng.randint(1, 16)) for seed in range(24)]
    loop = Loop(loaded, Limits(rows=9, prefill_tokens=100, kv_bytes=900 * loaded.network.bytes_per_token))
    together = run(loop, jobs, every=2)
    for one in jobs[::5]:
        (alone,) = run(Loop(loaded, Limits()), [dataclasses.replace(one)]).values()
        assert [dataclasses.replace(token, finish=None) for token in together[one]] == [
            dataclasses.replace(token, finish=None) for token in alone
        ]
    assert isinstance(loaded.network, Network)
    assert loaded.network.kv.held == []


def test_cancelled_answers_leave_within_a_step_and_leave_nothing(loaded: Loaded) -> None:
    rng = random.Random(6)
    loop = Loop(loaded, Limits(rows=8))
    jobs = [job(f"question {seed}", seed, tokens=40) for seed in range(30)]
    for one in jobs:
        loop.add(one)
    told: dict[Job, int] = dict.fromkeys(jobs, 0)
    while not loop.idle:
        gone = {one for one in jobs if one.cancelled}
        for one, item in loop.step():
            assert one not in gone
            assert isinstance(item, Token)
            told[one] += 1
        for one in rng.sample(jobs, 2):
            one.cancelled = True
    assert isinstance(loaded.network, Network)
    assert loaded.network.kv.held == []
    assert all(one.cancelled or count == 40 for one, count in told.items())
    assert sum(told.values()) > 40


def test_a_row_that_makes_the_model_fail_fails_alone(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    (forbidden,) = loaded.renderer._tokenizer.encode("Z")
    real = type(loaded.network).read

    def failing(self: Any, spans: list[Span]) -> torch.Tensor:
        if any(forbidden in span.tokens for span in spans):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return real(self, spans)

    monkeypatch.setattr(type(loaded.network), "read", failing)
    loop = Loop(loaded, Limits())
    good, bad = [job(f"question {seed}", seed, temperature=0) for seed in range(5)], job("Z", 9)
    for one in (*good[:3], bad, *good[3:]):
        loop.add(one)
    found: dict[Job, list[Any]] = {one: [] for one in (*good, bad)}
    while not loop.idle:
        for one, item in loop.step():
            found[one].append(item)
    (error,) = found[bad]
    assert isinstance(error, EngineError)
    assert str(error) == (
        "out of memory: DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. "
        "Choose a smaller model, a shorter context, or a smaller dtype."
    )
    monkeypatch.undo()
    for one in good:
        (alone,) = run(Loop(loaded, Limits()), [dataclasses.replace(one)]).values()
        assert ids(found[one]) == ids(alone)


def test_when_a_whole_step_fails_nobody_is_left_waiting(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor those that were done with in the same step, before it failed."""

    def broken(*_: Any) -> torch.Tensor:
        raise RuntimeError("no sampler")

    monkeypatch.setattr(drawing, "choose", broken)
    loop = Loop(loaded, Limits())
    too_long, fine = job("hi", tokens=10_000), job("hi")
    loop.add(too_long)
    loop.add(fine)
    with pytest.raises(RuntimeError, match="no sampler"):
        loop.step()
    told = {one: type(item) for one, item in loop.fail_all("the engine failed. Report this.")}
    assert told == {too_long: ContextOverflow, fine: EngineError}
    assert loop.idle
    assert loop.fail_all("again") == []


def test_a_schedule_that_raises_fails_its_answer_alone(loaded: Loaded) -> None:
    @dataclass(frozen=True)
    class Broken:
        """Fails at the third token."""

        per_token = True
        needs = ()

        def at(self, now: Now) -> float:
            return {0: 1.0, 1: 1.0}[now.token]

    loop = Loop(loaded, Limits())
    good = job("question", 1)
    bad = Job(
        Request(Prompt((user("hi"),)), Schedule(Sampling(max_tokens=6), {"temperature": Moving("broken", Broken())})),
        loop=None,
    )  # type: ignore[arg-type]
    for one in (bad, good):
        loop.add(one)
    found: dict[Job, list[Any]] = {good: [], bad: []}
    while not loop.idle:
        for one, item in loop.step():
            found[one].append(item)
    assert [type(item) for item in found[bad]] == [Token, Token, EngineError]
    assert str(found[bad][-1]) == ("sampling.temperature: the schedule 'broken' fails at token 2: KeyError: 2")
    assert found[good][-1].finish is not None


def test_what_does_not_fit_beside_the_others_waits_and_is_served(loaded: Loaded) -> None:
    loop = Loop(loaded, Limits(kv_bytes=1))
    found = run(loop, [job(f"question {seed}", seed, tokens=3) for seed in range(4)])
    assert [len(tokens) for tokens in found.values()] == [3] * 4
