"""The logits of a row are bitwise the same alone and in batches of any size, whatever the prefix cache remembers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.looping import LONG, SHAPE, Logits, job, run
from vllm_flow.engines.transformers import kv
from vllm_flow.engines.transformers.load import Loaded, load
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.models.spec import Model

FEW, MANY = (1, 2, 7, 64), (128, 160)
WEIGHTS = [
    ("float32", None),
    ("bfloat16", None),
    ("bfloat16", "int4"),
    *(
        pytest.param(one, marks=pytest.mark.full)
        for one in (("float32", "int4"), ("float32", "int8"), ("bfloat16", "int8"))
    ),
]
WATCHED = 3
"""The seed of the row that is looked at."""


@pytest.fixture(scope="module", params=WEIGHTS, ids=lambda one: " ".join(filter(None, one)))
def loaded(request: pytest.FixtureRequest) -> Iterator[Loaded]:
    dtype, kind = request.param
    found = load(Model("random", architecture=SHAPE), "cpu", dtype, None, kind)
    yield found
    found.network.close()


def remembering(loaded: Loaded, state: str) -> Loop:
    """A loop that has read what is watched, and then other things; or nothing yet."""
    tokens = {"cold": 0, "evicted": 560, "hot": 1 << 20}[state]
    loop = Loop(loaded, Limits(prefill_tokens=1 << 15, prefix_bytes=tokens * loaded.network.bytes_per_token))
    if state != "cold":
        run(loop, [job(LONG, 1000)])
        run(loop, [job(f"another {place} {LONG[:80]}", 2000 + place) for place in range(4)])
    return loop


def crowded(loop: Loop, rows: int, drawn: Logits) -> tuple[int, Logits]:
    """How much of the watched row's prompt was remembered, and its logits, in a batch that grows to `rows`.

    Half of its company is there before it, and half comes when it has five tokens.
    """
    crowd = [
        job(f"{place} {'x' * (7 * place % 30)}", 100 + place, tokens=40, min_tokens=40) for place in range(rows - 1)
    ]
    watched = job(LONG, WATCHED, tokens=30, min_tokens=30)
    coming = {0: crowd[: rows // 2], 4: [watched], 12: crowd[rows // 2 :]}
    tokens = []
    for step in range(20):
        for one in coming.get(step, []):
            loop.add(one)
        tokens += [item for one, item in loop.step() if one is watched]
    while not loop.idle:
        tokens += [item for one, item in loop.step() if one is watched]
    return tokens[-1].finish.cached_tokens, {key: drawn[key] for key in drawn if key[0] == WATCHED}


@pytest.mark.parametrize("rows", [*FEW, *(pytest.param(rows, marks=pytest.mark.full) for rows in MANY)])
def test_a_row_has_bitwise_the_same_logits_in_any_company(
    loaded: Loaded, rows: int, drawn: Logits, batches: list[int]
) -> None:
    assert loaded.facts["deterministic"] is True
    _, alone = crowded(remembering(loaded, "cold"), 1, drawn)
    assert len(alone) == 30
    cached = {}
    for state in ("cold", "evicted", "hot"):
        loop = remembering(loaded, state)
        batches.clear()
        drawn.clear()
        cached[state], found = crowded(loop, rows, drawn)
        assert max(batches) == rows
        assert found == alone, state
    assert 0 == cached["cold"] <= cached["evicted"] < cached["hot"]


@pytest.mark.parametrize("rows", [1, 7])
def test_prompts_that_stay_where_they_were_read_have_the_logits_of_those_that_are_moved(
    loaded: Loaded, rows: int, drawn: Logits, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, moved = crowded(remembering(loaded, "cold"), 1, drawn)
    monkeypatch.setattr(kv, "LONG", 0)
    for state in ("cold", "hot"):
        loop = remembering(loaded, state)
        drawn.clear()
        assert crowded(loop, rows, drawn)[1] == moved, state


@pytest.mark.parametrize("prefix_bytes", [0, 20_000, 1 << 24], ids=["cold", "evicted", "hot"])
def test_what_is_remembered_changes_no_bit(loaded: Loaded, prefix_bytes: int, drawn: Logits) -> None:
    loop = Loop(loaded, Limits(prefix_bytes=prefix_bytes))
    jobs = [(LONG, 1), (LONG[:100], 2), (LONG, 1), (LONG[:66] + "another", 3), ("other", 4), (LONG[:100], 2)]
    rounds = []
    for text, seed in jobs:
        run(loop, [job(text, seed)])
        rounds.append({key: drawn.pop(key) for key in list(drawn)})
    assert rounds[0] == rounds[2]
    assert rounds[1] == rounds[5]
    fresh = Loop(loaded, Limits(prefix_bytes=0))
    run(fresh, [job(jobs[3][0], 3)])
    assert rounds[3] == drawn
