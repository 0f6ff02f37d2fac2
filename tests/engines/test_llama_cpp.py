"""The llama_cpp engine: the tokens of our own engine from the same file, and what is no such file."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import tiny_gguf
from vllm_flow.core.errors import ContextOverflow, EngineError, ModelError
from vllm_flow.core.resources import Engine
from vllm_flow.engines.llama_cpp import options as module
from vllm_flow.engines.llama_cpp.options import MISSING, LlamaCpp
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.spec import Model
from vllm_flow.testing import ask, check_engine, prompt

needed = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None,
    reason="llama-cpp-python is not installed: the extra llama-cpp has it",
)
PROMPTS = [prompt("Count to one."), prompt("你好 🙂, why?")]
"""Short: the tiny model reads 128 tokens, and each character is one or more."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tiny_gguf.write(place)
    return place


@pytest.fixture
def engine(file: Path) -> Iterator[Engine]:
    live = LlamaCpp(Model("tiny", gguf=str(file)), threads=1).open()
    yield live
    live.close()


@needed
def test_it_keeps_the_promises_of_an_engine(file: Path) -> None:
    check_engine(LlamaCpp(Model("tiny", gguf=str(file)), threads=1), prompts=PROMPTS)


@needed
@pytest.mark.parametrize(
    "given",
    [
        {"temperature": 0.0},
        {"temperature": 0.0, "presence_penalty": 1.0, "frequency_penalty": 0.5, "repetition_penalty": 1.3},
        {"seed": 7},
        {"seed": 7, "min_tokens": 4, "stop_token_ids": tuple(range(30, 90))},
        {"seed": 3, "bad_words": ("a", "é"), "min_tokens": 9, "logit_bias": {60: 5.0}, "dry_multiplier": 0.8},
        {"seed": 2**64 - 1, "temperature": 0.8, "top_p": 0.9, "top_k": 40, "min_p": 0.01},
    ],
)
def test_seeds_and_parameters_mean_what_they_mean_to_our_own_engine(
    engine: Any, file: Path, given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_FLOW_CACHE", str(tmp_path))
    other: Any = Transformers(Model("tiny", gguf=str(file)), threads=1).open()
    for said in ("abc", "Hello you", "é 你好"):
        here, there = (ask(one, said, max_tokens=30, logprobs=True, **given) for one in (engine, other))
        assert here.logprobs == pytest.approx(there.logprobs, abs=0.3)  # llama.cpp keeps keys and values in float16
        entropies = [[one.raw_entropy for one in reply.likelihoods or ()] for reply in (here, there)]
        assert entropies[0] == pytest.approx(entropies[1], abs=0.3)
        asked = prompt("Be brief.", said)
        assert engine.measure(asked) == other.measure(asked)
        same = [dataclasses.replace(reply, logprobs=None, likelihoods=None) for reply in (here, there)]
        assert same[0] == same[1]
    other.close()


@needed
def test_it_says_what_it_runs_and_that_requests_take_turns(engine: Engine, file: Path) -> None:
    told = dict(engine.describe())
    assert told.pop("llama_cpp_python")
    assert told.pop("weights_sha256") == hashlib.sha256(file.read_bytes()).hexdigest()
    assert told == {
        "engine": "llama_cpp",
        "model": "tiny",
        "weights": str(file),
        "description": "tiny",
        "device": "cpu",
        "context_length": 128,
        "template": "none",
        "tools": "written",
        "shapes": ["choices", "regex", "schema"],
        "batching": "none: one request at a time",
        "deterministic": True,
    }


@needed
def test_it_has_no_forward_pass_of_transformers(engine: Any) -> None:
    assert engine.decode(engine.encode("to be")) == "to be"
    with pytest.raises(EngineError) as caught:
        engine.forward([[1]])
    assert str(caught.value) == "the engine 'llama_cpp' has no forward pass to call. Choose engine=transformers."


@needed
def test_what_does_not_fit_is_refused(engine: Engine, file: Path) -> None:
    with pytest.raises(ContextOverflow, match=r"the prompt has 3 tokens and sampling\.max_tokens asks for 126"):
        ask(engine, "xyz", max_tokens=126)
    small = LlamaCpp(Model("tiny", gguf=str(file)), max_context=16).open()
    with pytest.raises(ContextOverflow, match="but the model reads 16"):
        ask(small, "xyz", max_tokens=14)
    small.close()


@needed
def test_what_is_no_gguf_file_is_told_with_the_reason_that_llama_cpp_gives(
    tmp_path: Path, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = {"half.gguf": file.read_bytes()[:-5000], "none.gguf": b"GGUF" + bytes(100)}
    for name, content in words.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError) as caught:
            LlamaCpp(Model("x", gguf=str(tmp_path / name))).open()
        said = str(caught.value)
        assert said.startswith(f"model.gguf: {tmp_path / name}: llama.cpp cannot load it: ")
        assert "corrupted or incomplete" in said or "bad GGUF version: 0" in said
        assert said.endswith(
            ". Give a complete .gguf file of a text model, or a smaller engine.max_context if memory is short."
        )
    assert capfd.readouterr() == ("", "")


@needed
@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"gguf": "nowhere.gguf"}, "model.gguf: nowhere.gguf: there is no such file. Give a .gguf file."),
        ({"context_length": 129}, "model.gguf: {file}: model.context_length 129 is more than the 128 that it reads. Lower it."),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_is_told(file: Path, model: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        LlamaCpp(Model("x", **{"gguf": str(file), **model})).open()
    assert str(caught.value) == words.format(file=file)


@needed
@pytest.mark.full
def test_packaged_weights_answer_without_being_converted() -> None:
    engine = LlamaCpp(Model("smollm2", package="smollm2")).open()
    assert "scatter" in ask(engine, "Why is the sky blue?", temperature=0.0, max_tokens=60).text
    engine.close()


@pytest.mark.parametrize("model", [Model("x", hub="a/b"), Model("x", path="here"), Model("x", path="a", gguf="b.gguf")])
def test_other_weights_than_gguf_are_refused(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: name)
    (problem,) = LlamaCpp(model).problems()
    assert not isinstance(problem, str)
    assert (problem.path, problem.problem) == (
        ("model",),
        "llama.cpp reads GGUF files alone. Give model.gguf=FILE and no path, or model=smollm2.",
    )


def test_a_missing_package_is_told_by_check_and_by_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    options = LlamaCpp(Model("x", gguf="a.gguf"))
    assert list(options.problems()) == [MISSING]
    with pytest.raises(EngineError) as caught:
        options.open()
    assert str(caught.value) == (
        "engine llama_cpp: the package llama-cpp-python is not installed. Install it: pip install 'vllm-flow[llama-cpp]'."
    )
