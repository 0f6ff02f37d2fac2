"""What was found out about a model is kept for the next start, and only for the very same circumstances."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tiny
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.loaded import Loaded, Span
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


def test_other_weights_threads_or_layers_are_tried_anew(folder: Path, tmp_path: Path) -> None:
    opened(folder)
    (file,) = kept(tmp_path)
    pretend(file)
    torch.set_num_threads((before := torch.get_num_threads()) + 1)
    try:
        assert opened(folder).facts["forward"] == "lean"
    finally:
        torch.set_num_threads(before)
    pretend(file)
    assert load(Model("tiny", path=str(folder), layers="0"), "cpu", "float32").facts["forward"] == "lean"
    (weights,) = folder.glob("*.safetensors")
    os.utime(weights, ns=(1, 1))
    assert opened(folder).facts["forward"] == "lean"


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
