"""A tiny model, loaded in each kind of number that has its own kernels, and what tokens are drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.engines.looping import SHAPE, Logits
from vllm_flow.engines.transformers import drawing
from vllm_flow.engines.transformers.load import Loaded, load
from vllm_flow.models.spec import Model

WEIGHTS = [("float32", None), ("bfloat16", None), *((d, q) for d in ("float32", "bfloat16") for q in ("int4", "int8"))]


@pytest.fixture(scope="module", params=[pytest.param(one, marks=[pytest.mark.full] * bool(one[1])) for one in WEIGHTS])
def loaded(request: pytest.FixtureRequest) -> Iterator[Loaded]:
    dtype, kind = request.param
    found = load(Model("random", architecture=SHAPE), "cpu", dtype, None, kind)
    yield found
    found.network.close()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Logits:
    """The logits that each token of each seed was drawn from."""
    found: Logits = {}
    real = drawing.choose

    def recording(logits: torch.Tensor, samplings: Any, seeds: Any, indices: Any) -> torch.Tensor:
        for row, key in enumerate(zip(seeds, indices, strict=True)):
            found[key] = logits[row].numpy().tobytes()
        return real(logits, samplings, seeds, indices)

    monkeypatch.setattr(drawing, "choose", recording)
    return found


@pytest.fixture
def batches(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each step has read a token of, where it read no more of any."""
    found: list[int] = []
    real = type(loaded.network).read

    def counting(self: Any, spans: Any) -> torch.Tensor:
        if all(len(span.tokens) == 1 for span in spans):
            found.append(len(spans))
        return real(self, spans)

    monkeypatch.setattr(type(loaded.network), "read", counting)
    return found
