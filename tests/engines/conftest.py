"""A tiny model, loaded in each kind of number that has its own kernels."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.engines.looping import SHAPE
from vllm_flow.engines.transformers.load import Loaded, load
from vllm_flow.models.spec import Model

WEIGHTS = [("float32", None), ("bfloat16", None), *((d, q) for d in ("float32", "bfloat16") for q in ("int4", "int8"))]


@pytest.fixture(scope="module", params=[pytest.param(one, marks=[pytest.mark.full] * bool(one[1])) for one in WEIGHTS])
def loaded(request: pytest.FixtureRequest) -> Iterator[Loaded]:
    dtype, kind = request.param
    found = load(Model("random", architecture=SHAPE), "cpu", dtype, None, kind)
    yield found
    found.network.close()
