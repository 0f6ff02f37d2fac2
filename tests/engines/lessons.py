"""Something to learn, engines that learn it, and requests to ask them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import tiny
from vllm_flow.core import plugins
from vllm_flow.core.adapting import AdaptRequest, Lesson, Tuning
from vllm_flow.core.errors import EngineError
from vllm_flow.core.messages import user
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Prompt, Request
from vllm_flow.engines.transformers.engine import TransformersEngine
from vllm_flow.engines.transformers.load import load
from vllm_flow.models.spec import Architecture, Model

plugins.load_built_in()
TEXT = "The snails of Quillon sail in paper boats, and the moon pays them in salt. "
RANDOM = Model("random", architecture=Architecture(64, 2, 4, kv_heads=2, max_context=1024))
HOW = Tuning(rank=4, learning_rate=0.01, passes=3, step_tokens=50)


def asked(text: str = TEXT, how: Tuning = HOW, **more: Any) -> AdaptRequest:
    return AdaptRequest((Lesson(None, text),), how, **more)


def ask(text: str = "And the snails?", adapter: str | None = None, tokens: int = 12) -> Request:
    how = Schedule(Sampling(max_tokens=tokens, temperature=0.8))
    return Request(Prompt((user(text),)), how, seed=len(text), logprobs=True, adapter=adapter)


def ran(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def opened(folder: Path, family: str, adapters: Path | None = None, **more: Any) -> TransformersEngine:
    path = folder if (folder / "config.json").exists() else tiny.save(folder, family, tiny.build(family, seed=3))
    return TransformersEngine(
        partial(
            load, Model("x", path=str(path), **more), "cpu", "float32", adapters=str(adapters) if adapters else None
        )
    )


def failure(work: Coroutine[Any, Any, Any]) -> str:
    with pytest.raises(EngineError) as caught:
        ran(work)
    return str(caught.value)
