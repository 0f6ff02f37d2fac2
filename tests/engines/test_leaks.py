"""Random arrivals and cancellations leave no rows, no memory and no text behind."""

from __future__ import annotations

import dataclasses
import gc
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import ref

import pytest
from transformers import AttentionInterface, AttentionMaskInterface

from tests import tiny
from vllm_flow.core.errors import ModelError
from vllm_flow.core.messages import user
from vllm_flow.core.values import Prompt, Token
from vllm_flow.engines.transformers.attention import Chunk, Decode
from vllm_flow.engines.transformers.fitting import fitted
from vllm_flow.engines.transformers.load import Loaded, load
from vllm_flow.engines.transformers.loaded import Span
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.engines.transformers.network import Network
from vllm_flow.engines.transformers.row import Job, Reading
from vllm_flow.engines.transformers.slots import Sequence, Slots
from vllm_flow.models.spec import Architecture, Model

from .looping import LONG, job, run
from .test_scoring import scored, scoring

SHAPE = Architecture(32, 2, 4, kv_heads=2, max_context=600)
ROWS = 7


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    found = load(Model("random", architecture=SHAPE), "cpu", "float32")
    yield found
    found.network.close()


def some(rng: random.Random, seed: int) -> Job[Any, Any]:
    """An answer or a text to score, of any length, some of which begin alike."""
    text = LONG[: rng.choice([3, 40, 66, 130])] + str(rng.randrange(4))
    if rng.random() < 0.3:
        return scoring(LONG[: rng.randint(1, 150)], Prompt((user(text),)) if rng.random() < 0.6 else None)
    return job(text, seed, tokens=rng.randint(1, 24), temperature=rng.choice([0, 1]))


def kept(loop: Loop) -> int:
    """The bytes that hang in the prefix cache's tree, counted anew."""
    left, found = [*loop._prefill._prefixes._roots.values()], 0
    while left:
        node = left.pop()
        found += node.bytes
        left += node.children.values()
    return found


def alive(kind: type) -> int:
    gc.collect()
    return sum(issubclass(type(one), kind) for one in gc.get_objects())


def registered() -> set[str]:
    """What transformers knows ways to attend by, and what these keep alive with them."""
    return {*AttentionInterface._global_mapping, *AttentionMaskInterface._global_mapping}


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.full) for seed in range(3, 40))])
def test_what_comes_and_goes_at_random_leaves_nothing_and_each_answer_is_its_own(loaded: Loaded, seed: int) -> None:
    assert isinstance(loaded.network, Network)
    before = alive(Reading), alive(Sequence)
    rng = random.Random(seed)
    per_token = loaded.network.bytes_per_token
    limits = Limits(ROWS, prefill_tokens=100, kv_bytes=900 * per_token, prefix_bytes=500 * per_token)
    loop, coming = Loop(loaded, limits), [some(rng, place) for place in range(40)]
    found: dict[Job[Any, Any], list[Any]] = {one: [] for one in coming}
    waiting = list(coming)
    while waiting or not loop.idle:
        for _ in range(min(len(waiting), rng.choice([0, 0, 1, 5]))):
            loop.add(waiting.pop())
        gone = {one for one in coming if one.cancelled}
        for one, item in loop.step():
            assert one not in gone
            assert not isinstance(item, Exception)
            found[one].append(item)
        assert len(loop._in_flight()) <= ROWS
        assert loop._prefill._prefixes.bytes == kept(loop) <= limits.prefix_bytes
        if rng.random() < 0.4:
            rng.choice(coming).cancelled = True
    assert loaded.network.kv.held == []
    loop.step()  # a last one, after which nothing more may be held
    assert (loop._first, loop._in_flight(), loop.waiting) == (None, [], 0)
    assert (alive(Reading), alive(Sequence)) == before
    ended = [one for one in coming if found[one] and (not isinstance(found[one][-1], Token) or found[one][-1].finish)]
    assert len(ended) > 10
    for one in rng.sample(ended, 8):
        again, fresh = dataclasses.replace(one, cancelled=False), Loop(loaded, Limits(prefix_bytes=0))
        if isinstance(found[one][0], Token):
            (tokens,) = run(fresh, [again]).values()
            assert [(t.id, t.text) for t in found[one]] == [(t.id, t.text) for t in tokens]
        else:
            assert scored(fresh, again) == found[one]


def test_keys_and_values_go_at_once_and_do_not_wait_for_a_search_for_garbage(loaded: Loaded) -> None:
    gc.collect()
    gc.disable()
    try:
        run(Loop(loaded, Limits(prefix_bytes=0)), [job(LONG, 1), job("hi", 2)])
        kinds = (Slots, Chunk, Decode)
        assert [one for one in gc.get_objects() if issubclass(type(one), kinds)] == []
    finally:
        gc.enable()


@pytest.mark.parametrize("family", ["Mamba", "Bloom"])
def test_a_model_that_does_not_fit_is_not_kept_where_transformers_looks_attention_up(family: str) -> None:
    before = registered()
    assert fitted(tiny.build(family)).why_plain
    assert registered() == before


def test_a_model_that_fails_to_load_is_not_kept_there(tmp_path: Path) -> None:
    before = registered()
    with pytest.raises(ModelError, match=r"^model\.context_length: 513 is more than the 512 tokens"):
        load(Model("tiny", path=str(tiny.save(tmp_path, "Llama")), context_length=513), "cpu", "float32")
    assert registered() == before


def test_a_call_that_fails_keeps_no_keys_and_values(loaded: Loaded) -> None:
    sequence = loaded.network.sequence(2)
    gone = ref(sequence.planes[0])
    with pytest.raises(IndexError):
        loaded.network.read([Span(sequence, [1, 10**6])])
    del sequence
    gc.collect()
    assert gone() is None
