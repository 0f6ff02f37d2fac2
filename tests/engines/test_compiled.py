"""Compiled decoding of a row that is alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor.config

from tests import tiny
from vllm_flow.core.errors import ModelError
from vllm_flow.engines.transformers import kv
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.loaded import Loaded, Span
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.spec import Architecture, Model

ALONE = Transformers(Model("random", architecture=Architecture(32, 2, 4, max_context=400)), compile=True)
PROMPT = [5 + place * 7 % 90 for place in range(60)]


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [("deterministic", True, "deterministic=true"), ("device", "cuda", "device=cuda"),
     ("dtype", "float16", "dtype=float16")],
)  # fmt: skip
def test_what_does_not_go_with_it_is_told_before_anything_loads(option: str, value: Any, told: str) -> None:
    (found,) = dataclasses.replace(ALONE, **{option: value}).problems()
    assert (found.path, found.problem) == (("compile",), f"it does not go with {told}. Set one of them only.")


def test_it_goes_with_all_else() -> None:
    assert (
        dataclasses.replace(ALONE, deterministic=False, dtype="bfloat16", device="cpu", quantize="int4").problems()
        == []
    )


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load(Model("tiny", path=str(tiny.save(tmp_path, "GPT2"))), "cpu", compiles=True)
    assert str(caught.value) == (
        "resources.engine.compile: only models of the kinds llama, mistral, qwen2, qwen3 are compiled, on cpu, "
        "not gpt2 on cpu. Choose false."
    )


def test_without_a_compiler_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_FLOW_CACHE", str(tmp_path))
    missing: Any = torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")})
    with missing, pytest.raises(ModelError) as caught:
        load(ALONE.model, "cpu", compiles=True)
    assert str(caught.value) == (
        "resources.engine.compile: no C++ compiler is found. Install one, such as g++, or choose false."
    )
    assert list((tmp_path / "models" / "compiled").iterdir()) == []


@pytest.fixture(scope="module", params=["Llama", "Mistral", "Qwen2", "Qwen3"])
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """Of which the compiled code is not in the cache yet."""
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_FLOW_CACHE", str(folder / "cache"))
        yield Model("tiny", path=str(tiny.save(folder, request.param)))


def decoded(loaded: Loaded, steps: int = 8) -> list[torch.Tensor]:
    """Logits of steps that go from one class of lengths into the next."""
    network: Any = loaded.network
    sequence = network.sequence(len(PROMPT))
    logits = [network.read([Span(sequence, PROMPT)])[0]]
    network.begin_decoding(sequence)
    for _ in range(steps):
        logits.append(network.read([Span(sequence, [int(logits[-1].argmax())])])[0])
    network.leave(sequence)
    return logits


@pytest.mark.full
@pytest.mark.parametrize(
    ("dtype", "quantize", "near"),
    [("float32", None, 1e-3), ("bfloat16", None, None), ("float32", "int4", 1e-3), ("bfloat16", "int4", None),
     ("float32", "int8", 1e-3)],
)  # fmt: skip
def test_its_logits_are_the_usual_ones_and_the_code_is_kept(
    family: Model, dtype: Any, quantize: Any, near: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled, usual = (load(family, "cpu", dtype, quantize=quantize, compiles=compiles) for compiles in (True, False))
    assert [one.facts["quantize"] for one in (compiled, usual)] == [quantize] * 2
    assert [one.facts["compiled"] for one in (compiled, usual)] == [True, False]
    assert [one.facts["deterministic"] for one in (compiled, usual)] == [False, True]
    pairs = list(zip(decoded(compiled), decoded(usual), strict=True))
    assert not all(torch.equal(one, other) for one, other in pairs)  # or nothing compiled has run
    for one, other in pairs if near else pairs[:2]:  # later ones may follow other tokens
        assert float((one - other).abs().amax()) <= (near or 0.1) * (1 + float(other.abs().amax()))

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr("vllm_flow.engines.transformers.compiled._compile", never)
    monkeypatch.setattr(kv, "LONG", 0)  # its planes are then those of one sequence alone
    again = decoded(load(family, "cpu", dtype, quantize=quantize, compiles=True))
    assert all(torch.equal(one, other) for one, (other, _) in zip(again, pairs, strict=True))
    compiled.network.close()
