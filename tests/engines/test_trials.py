"""What was found out about a model is kept for the next start, and only for the very same circumstances."""

from __future__ import annotations

import gc
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from vllm_flow.engines.transformers import trials
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.loaded import Loaded, Span
from vllm_flow.engines.transformers.trials import trials_of
from vllm_flow.models.spec import Model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a tiny Llama."""
    monkeypatch.setenv("VLLM_FLOW_CACHE", str(tmp_path / "cache"))
    return tiny.save(tmp_path, "Llama")


def logits(loaded: Loaded) -> torch.Tensor:
    sequence = loaded.network.sequence(5)
    return loaded.network.read([Span(sequence, [1, 2, 3, 4, 5])])


def opened(folder: Path, **options: Any) -> Loaded:
    return load(Model("tiny", path=str(folder)), "cpu", "float32", **options)


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "trials").glob("*"))


def pretend(file: Path) -> None:
    """Let the file say that the lean forward pass does not fit: who believes it goes through transformers."""
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"found": {"lean": False, "least": 8}}), "utf-8")


def test_the_second_start_tries_nothing_and_computes_the_same_bits(folder: Path, tmp_path: Path) -> None:
    first = opened(folder)
    (file,) = kept(tmp_path)
    assert json.loads(file.read_text("utf-8"))["found"] == {"lean": True, "least": 4}
    second = opened(folder)
    assert second.facts == first.facts
    assert torch.equal(logits(second), logits(first))
    pretend(file)
    believed = opened(folder)
    assert (believed.facts["forward"], believed.network.least) == ("transformers", 8)  # type: ignore[attr-defined]


def name_of(model: Any, weights: Path | str, quantize: str | None = None) -> str | None:
    """The name of the file that a model's trials are kept in."""
    file = trials_of(str(weights), model, quantize)._file
    return file and file.name


def test_found_under_other_circumstances_it_is_tried_anew(folder: Path, tmp_path: Path) -> None:
    opened(folder)
    (file,) = kept(tmp_path)
    pretend(file)
    torch.set_num_threads((before := torch.get_num_threads()) + 1)
    try:
        assert opened(folder).facts["forward"] == "lean"
    finally:
        torch.set_num_threads(before)
    assert kept(tmp_path) == [file]


def test_what_runs_otherwise_has_trials_of_its_own(folder: Path, tmp_path: Path) -> None:
    opened(folder)
    (file,) = kept(tmp_path)
    pretend(file)
    name, path = "tiny", str(folder)
    assert load(Model(name, path=path, layers="0"), "cpu", "float32").facts["forward"] == "lean"
    assert load(Model(name, path=path), "cpu", "bfloat16").facts["forward"] == "lean"
    assert load(Model(name, path=path), "cpu", "float32", None, "int8").facts["forward"] == "lean"
    assert len(kept(tmp_path)) == 4
    assert opened(folder).facts["forward"] == "transformers"  # as was pretended


def test_each_part_of_what_a_model_is_tells_it_from_others(folder: Path, tmp_path: Path) -> None:
    model = tiny.build("Llama")
    (weights,) = folder.glob("*.safetensors")
    names = [name_of(model, folder), name_of(model, folder, "int4"), name_of(model, folder, "int8")]
    assert name_of(model, folder) == names[0]
    names.append(name_of(model.to(torch.bfloat16), folder))
    model.to(torch.float32).config.rope_parameters["rope_theta"] = 7.0
    names.append(name_of(model, folder))
    model = tiny.build("Llama")
    os.utime(weights, ns=(1, 1))
    names.append(name_of(model, folder))
    weights.write_bytes(weights.read_bytes() + b" ")
    os.utime(weights, ns=(1, 1))
    names.append(name_of(model, folder))
    weights.rename(folder / "other.safetensors")
    names.append(name_of(model, folder))
    shutil.copytree(folder, tmp_path / "copy")
    names.append(name_of(model, tmp_path / "copy"))
    assert None not in names
    assert len(set(names)) == 9
    assert name_of(model.to("meta"), folder) is None  # it is found on the CPU alone


@pytest.mark.parametrize(
    ("weights", "is_kept"),
    [
        (f"me/tiny@{'a' * 40}", True),
        (f"tiny@{'a' * 40}", True),
        ("me/tiny@main", False),  # a branch may move
        ("me/tiny@v@2", False),
        (f"me/tiny@v@{'a' * 40}", False),
        (f"/me@home/tiny@{'a' * 40}", False),  # a folder without weights
        ("random, seed 1", False),
        ("", False),
    ],
)
def test_nothing_is_kept_of_weights_that_may_change(weights: str, is_kept: bool) -> None:
    assert (name_of(tiny.build("Llama"), weights) is not None) == is_kept


def test_of_one_model_each_commit_has_its_own() -> None:
    model = tiny.build("Llama")
    assert len({name_of(model, f"{name}@{commit * 40}") for name in ("a/b", "a/c") for commit in "12"}) == 4


def test_each_circumstance_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = {"as it is": trials._circumstances()}

    def differs(what: str) -> None:
        known = {digest: name for name, digest in found.items()}
        found[what] = trials._circumstances()
        assert known.get(found[what]) is None, what

    monkeypatch.setenv("OMPX", "1")
    assert trials._circumstances() == found["as it is"]  # that decides nothing
    for name in ("ATEN_CPU_CAPABILITY", "DNNL_X", "GOMP_X", "KMP_X", "MKL_X", "OMP_X", "ONEDNN_X"):
        for value in "ab":
            monkeypatch.setenv(name, value)
            differs(f"{name}={value}")
    for module in (trials.torch, trials.transformers):
        monkeypatch.setattr(module, "__version__", "0")
        differs(module.__name__)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "none")
    differs("what its kernels use")
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        differs("precision")
    finally:
        torch.set_float32_matmul_precision(precision)
    monkeypatch.setattr(trials, "_processor", lambda: ["model name: other"])
    differs("processor")
    copied = shutil.copytree(Path(trials.__file__).parent, tmp_path / "code")
    monkeypatch.setattr(trials, "__file__", str(copied / "trials.py"))
    assert trials._circumstances() == found["processor"]  # the same code elsewhere
    with (copied / "lean.py").open("a") as file:
        file.write("# other")
    differs("code")


def test_a_processor_is_its_kind_and_what_it_can_do(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    told.write_text("model name\t: A\ncpu MHz\t: 1\nflags\t: avx2\n\nmodel name\t: B\n")
    assert trials._processor(told) == ["model name\t: A", "flags\t: avx2"]
    told.write_text("Features\t: asimd\nCPU part\t: 0xd0c\n\n")
    assert trials._processor(told) == ["Features\t: asimd", "CPU part\t: 0xd0c"]
    assert trials._processor(tmp_path / "none") == [platform.machine(), platform.processor()]


def test_a_damaged_file_counts_for_nothing_and_is_replaced(folder: Path, tmp_path: Path) -> None:
    opened(folder)
    (file,) = kept(tmp_path)
    for text in ("", "[]", "{}", '{"under": 1}', '{"found": 3, "under": "x"}'):
        file.write_text(text, "utf-8")
        assert opened(folder).facts["forward"] == "lean"
        assert json.loads(file.read_text("utf-8"))["found"] == {"lean": True, "least": 4}


def test_where_nothing_can_be_kept_each_start_tries(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("not a folder", "utf-8")
    assert opened(folder).facts["deterministic"] is True


def test_what_was_not_tried_is_tried_when_it_is_asked_for(folder: Path, tmp_path: Path) -> None:
    assert opened(folder, deterministic=False).facts["deterministic"] is False
    (file,) = kept(tmp_path)
    assert json.loads(file.read_text("utf-8"))["found"] == {"lean": True}
    assert opened(folder).facts["deterministic"] is True
    assert json.loads(file.read_text("utf-8"))["found"] == {"lean": True, "least": 4}


def test_opening_an_engine_leaves_the_garbage_collector_as_it_was() -> None:
    assert gc.isenabled()
    program = (
        "import gc; from vllm_flow.engines.transformers.options import Transformers;"
        "from vllm_flow.models.spec import Architecture, Model;"
        "engine = Transformers(Model('x', architecture=Architecture(32, 1, 4)), threads=1).open();"
        "print(gc.isenabled(), gc.get_freeze_count() > 100_000); engine.close()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n"
