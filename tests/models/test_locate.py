"""Where weights are: what cannot be a place is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from vllm_flow.core.errors import ModelError
from vllm_flow.models.cache import models_folder
from vllm_flow.models.locate import locate
from vllm_flow.models.spec import Model

LONG = "x" * 300


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Model("x", path="~nobody-here/a"), "model.path: ~nobody-here/a: there can be no such place (Could not determine home directory). Write another path."),
        (Model("x", path=LONG), f"model.path: {LONG}: there can be no such place (File name too long). Write another path."),
        (Model("x", gguf="a\0b"), "model.gguf: a\0b: there can be no such place (embedded null byte). Write another path."),
        (Model("x", gguf="nowhere.gguf", package="smollm2"), "model.gguf: nowhere.gguf: there is no such file. Give a .gguf file."),
    ],
)  # fmt: skip
def test_what_cannot_be_a_place_is_one_line(model: Model, words: str) -> None:
    with pytest.raises(ModelError) as caught:
        locate(model)
    assert str(caught.value) == words


def test_a_cache_of_somebody_who_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_FLOW_CACHE", "~nobody-here")
    with pytest.raises(ModelError) as caught:
        models_folder()
    assert str(caught.value) == (
        "VLLM_FLOW_CACHE (~nobody-here): Could not determine home directory. Write the folder out."
    )


def test_the_cache_is_where_it_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_FLOW_CACHE", str(tmp_path))
    assert models_folder() == tmp_path / "models"
