"""Folders of weights: what has to be in one, and which files may stand for another."""

from __future__ import annotations

from pathlib import Path

import pytest

from vllm_flow.core.errors import ModelError
from vllm_flow.models.folders import SHARDED, folder_with


def test_weights_may_be_in_several_pieces_and_of_two_names_one_is_enough(tmp_path: Path) -> None:
    (tmp_path / "b.json").touch()
    with pytest.raises(ModelError) as lacking:
        folder_with("x", str(tmp_path), ("a.json or b.json", "model.safetensors"))
    assert str(lacking.value) == (
        "x: there is no model.safetensors in it. Give a folder with a.json or b.json, model.safetensors."
    )
    (tmp_path / SHARDED).touch()
    assert folder_with("x", str(tmp_path), ("a.json or b.json", "model.safetensors")) == tmp_path
