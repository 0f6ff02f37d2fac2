"""Answers that have said the same so far are read once, and each is what it would be alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from tests.engines.looping import LONG, ids, job, run
from vllm_flow.core.errors import EngineError
from vllm_flow.core.values import Token
from vllm_flow.engines.transformers.load import Loaded, load
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.engines.transformers.network import Network, Span
from vllm_flow.engines.transformers.row import Job
from vllm_flow.models.spec import Model

TOKENS = 70
"""More than one class of length of the KV cache holds."""
TEMPERATURES = (0.01, 0.02, 0.05, 0.3, 0.6, 1.0, 1.5)


@pytest.fixture(scope="module", params=["Llama", *tiny.PLAIN])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """Of a model in the batch, and of those that are read one sequence after the other."""
    folder = tiny.save(Path(tmp_path_factory.mktemp("tiny")), request.param, tiny.build(request.param))
    found = load(Model("tiny", path=str(folder)), "cpu", "float32")
    yield found
    found.network.close()


def swept(text: str = LONG, tokens: int = TOKENS, seed: int = 7) -> list[Job]:
    return [job(text, seed, tokens, min_tokens=tokens, temperature=one) for one in TEMPERATURES]


def alone(loaded: Loaded, one: Job) -> list[int]:
    return ids(run(Loop(loaded, Limits()), [dataclasses.replace(one)]).popitem()[1])


def test_points_of_a_sweep_are_read_once_until_they_part(loaded: Loaded, batches: list[int]) -> None:
    jobs = swept()
    found = {one: ids(tokens) for one, tokens in run(Loop(loaded, Limits(prefill_tokens=1 << 15)), jobs).items()}
    different = [len({tuple(said[:count]) for said in found.values()}) for count in range(1, TOKENS)]
    assert sum(batches) == sum(different)
    assert 1 < different[-1] <= len(jobs)
    assert different[0] < len(jobs)
    assert found == {one: alone(loaded, one) for one in jobs}
    assert not isinstance(loaded.network, Network) or loaded.network.kv.held == []


def test_those_that_stay_have_what_the_first_has_read_when_it_goes(loaded: Loaded) -> None:
    jobs, short = swept(), swept(tokens=9)[0]
    loop = Loop(loaded, Limits())
    found: dict[Job, list[int]] = {one: [] for one in (short, *jobs)}
    for one in found:
        loop.add(one)
    while not loop.idle:
        for one, item in loop.step():
            assert isinstance(item, Token)
            found[one].append(item.id)
        jobs[0].cancelled = len(found[jobs[0]]) == 20
    assert (len(found.pop(short)), len(found.pop(jobs[0]))) == (9, 20)
    assert found == {one: alone(loaded, one) for one in jobs[1:]}
    assert not isinstance(loaded.network, Network) or loaded.network.kv.held == []


def test_one_tenant_s_answer_is_not_read_with_another_s(loaded: Loaded, batches: list[int]) -> None:
    jobs = [job("Why?", tokens=5, temperature=0, min_tokens=5) for _ in range(3)]
    for one, tenant in zip(jobs, ("ann", "ben", "ben"), strict=True):
        one.request = dataclasses.replace(one.request, tenant=tenant)
    first, *others = run(Loop(loaded, Limits()), jobs).values()
    assert all(ids(first) == ids(other) for other in others)
    assert sum(batches) == 2 * 4


def test_what_the_network_cannot_read_fails_all_that_have_said_it(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, other = [job("Why?", tokens=5, temperature=0, min_tokens=5) for _ in range(2)], job("Who?", tokens=30)
    loop, real, told = Loop(loaded, Limits()), type(loaded.network).read, dict[Job, list[Any]]()
    prompt, kept = len(loaded.renderer.ids(other.request.prompt)), None

    def failing(self: Any, spans: list[Span]) -> torch.Tensor:
        if any(one.sequence.length == prompt + 2 and one.sequence is not kept for one in spans):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return real(self, spans)

    for one in (*jobs, other):
        loop.add(one)
    while not loop.idle:
        for one, item in loop.step():
            told.setdefault(one, []).append(item)
        kept = next((row.sequence for row in loop._in_flight() if row.job is other), None)
        monkeypatch.setattr(type(loaded.network), "read", failing)
    assert all(isinstance(item, Token) for item in told[other])
    for one in jobs:
        *tokens, error = told[one]
        assert len(tokens) == 3
        assert isinstance(error, EngineError)
        assert str(error).startswith("out of memory: DefaultCPUAllocator: ")
