"""SmolLM2 in vLLM, and in our own engine beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.core.errors import ModelError
from vllm_flow.core.resources import Engine
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.engines.vllm.options import Vllm
from vllm_flow.models.spec import Model


@pytest.fixture(scope="module")
def options(_smollm2: Path | ModelError) -> Vllm:
    if isinstance(_smollm2, ModelError):
        pytest.fail(str(_smollm2))
    return Vllm(Model("smollm2", path=str(_smollm2)), "float32", max_context=2048, kv_cache_gib=0.5)


@pytest.fixture(scope="module")
def engine(options: Vllm) -> Iterator[Any]:
    live = options.open()
    yield live
    live.close()


@pytest.fixture(scope="module")
def ours(options: Vllm) -> Iterator[Engine]:
    live = Transformers(options.model, threads=1).open()
    yield live
    live.close()
