"""The openai engine against a real vLLM server on this machine, and against our own engine with the same weights.

vLLM asks for a torch of its own and so lives in an environment of its own: VLLM_PYTHON names the Python in it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.core.errors import ContextOverflow, EngineError, ModelError
from vllm_flow.core.values import Request
from vllm_flow.engines.openai.options import OpenAI
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.spec import Model
from vllm_flow.testing import ask, check_engine, prompt
from vllm_flow.testing.values import schedule

PYTHON = os.environ.get("VLLM_PYTHON") or (sys.executable if importlib.util.find_spec("vllm") else "")
KEY = "key-of-a-test"
READY_S = 280
QUESTIONS = ("What is the capital of France?", "Name three colours.", "Count from one to five.")
pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PYTHON, reason="vLLM is not installed: set VLLM_PYTHON to a Python that has it"),
]


@pytest.fixture(scope="module")
def options(_smollm2: Path | ModelError, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    if isinstance(_smollm2, ModelError):
        pytest.fail(str(_smollm2))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        PYTHON,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        str(_smollm2),
        "--served-model-name",
        "smollm2",
    ]
    command += ["--dtype", "float32", "--max-model-len", "2048", "--enforce-eager"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--api-key", KEY]
    own = {"VLLM_CPU_KVCACHE_SPACE": "2", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "MY_KEY": KEY}
    folder = tmp_path_factory.mktemp("vllm")
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env={**outside, **own}, stdout=log, stderr=log)
        try:
            _wait_for(process, f"http://127.0.0.1:{port}/health", folder / "log")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("MY_KEY", KEY)
                model = Model("smollm2", served="smollm2")
                yield OpenAI(model, f"http://127.0.0.1:{port}/v1", "${secret:MY_KEY}", dialect="vllm")
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=2)
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(1)
        else:
            return
    pytest.fail(f"vLLM did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")


@pytest.mark.parametrize("dialect", ["vllm", "openai", "common"])
def test_it_keeps_the_promises_of_an_engine(options: OpenAI, dialect: Any) -> None:
    check_engine(replace(options, dialect=dialect), limit_s=120)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"repetition_penalty": 1.3},
        {"presence_penalty": 1.0, "frequency_penalty": 0.5},
        {"stop": ("a", ".")},
        {"stop_token_ids": (28, 30, 260)},
        {"bad_words": ("Paris", "red", "1"), "min_tokens": 15, "logit_bias": {28: 2.0}},
    ],
)
def test_greedy_answers_equal_those_of_our_own_engine(options: OpenAI, smollm2: Path, given: dict[str, Any]) -> None:
    theirs, ours = options.open(), Transformers(Model("smollm2", path=str(smollm2)), threads=1).open()
    for question in QUESTIONS:
        how = {"temperature": 0.0, "max_tokens": 40, "logprobs": True, **given}
        there, here = ask(theirs, question, **how), ask(ours, question, **how)
        assert there.logprobs == pytest.approx(here.logprobs, abs=1e-3)
        assert there.token_ids == here.token_ids
        assert (there.text, there.finish_reason, there.usage) == (here.text, here.finish_reason, here.usage)
    theirs.close()
    ours.close()


def test_parameters_arrive(options: OpenAI) -> None:
    engine, question = options.open(), "Tell me a story."
    greedy = ask(engine, question, temperature=0.0, max_tokens=12)
    assert ask(engine, question, top_k=1, max_tokens=12) == greedy
    assert ask(engine, question, min_p=1.0, max_tokens=12) == greedy
    assert ask(engine, question, top_p=1e-6, max_tokens=12) == greedy
    drawn = [ask(engine, question, temperature=2.0, max_tokens=12, seed=seed).token_ids for seed in (1, 2, 1)]
    assert drawn[0] == drawn[2] != drawn[1]
    engine.close()


def test_leaving_an_answer_frees_the_server(options: OpenAI) -> None:
    engine = options.open()

    async def leave() -> None:
        stream = engine.generate(Request(prompt("Tell me a long story."), schedule(max_tokens=1900)))
        await anext(stream)
        assert _running(options) == 1
        await stream.aclose()

    asyncio.run(leave())
    until = time.monotonic() + 10
    while _running(options) and time.monotonic() < until:
        time.sleep(0.1)
    assert _running(options) == 0
    engine.close()


def _running(options: OpenAI) -> int:
    with urllib.request.urlopen(options.base_url.replace("/v1", "/metrics")) as page:
        found = re.search(r"^vllm:num_requests_running\{.*\} (\S+)$", page.read().decode(), re.M)
    assert found
    return int(float(found[1]))


def test_what_the_server_refuses_is_told(options: OpenAI) -> None:
    engine = options.open()
    for said, how in (("hi " * 3000, {}), ("hi", {"max_tokens": 5000})):
        with pytest.raises(ContextOverflow, match="Choose context=window"):
            ask(engine, said, **how)  # type: ignore[arg-type]
    engine.close()
    wrong = {"api_key": None, "model": Model("x", served="x")}
    for (name, value), words in zip(
        wrong.items(), ("401: Unauthorized", "404: The model `x` does not exist"), strict=True
    ):
        other = replace(options, **{name: value}).open()  # type: ignore[arg-type]
        with pytest.raises(EngineError, match=words):
            ask(other, "hi")
        other.close()
