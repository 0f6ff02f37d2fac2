"""Every engine that comes with this package keeps the promises that a plugin's engine is held to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiny
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import EngineOptions
from vllm_flow.engines.echo import Echo
from vllm_flow.engines.llama_cpp.options import LlamaCpp
from vllm_flow.engines.openai.options import OpenAI
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.engines.vllm.options import Vllm
from vllm_flow.models.spec import Model
from vllm_flow.testing import engine_promises
from vllm_flow.testing.engines import EnginePromise


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("tiny"), "Llama")


@pytest.fixture(params=["echo", "tiny", pytest.param("smollm2", marks=pytest.mark.full)])
def options(request: pytest.FixtureRequest) -> EngineOptions:
    if request.param == "echo":
        return Echo()
    folder = request.getfixturevalue("tiny_folder" if request.param == "tiny" else "smollm2")
    # One thread: two wait for each other when something else computes beside us.
    return Transformers(Model(request.param, path=str(folder)), threads=1)


@pytest.mark.parametrize("promise", engine_promises())
def test_every_engine_keeps_its_promises(promise: EnginePromise, options: EngineOptions) -> None:
    promise(options, limit_s=300)


def test_no_engine_is_left_out() -> None:
    own = {entry.cls for entry in resource if entry.cls.__module__.startswith("vllm_flow.engines.")}
    assert own == {Echo, Transformers, OpenAI, LlamaCpp, Vllm}  # the last three in files of their own
