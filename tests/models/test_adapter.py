"""Adapters: what is none is said by `check`, before anything loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from vllm_flow.cli import main
from vllm_flow.models.adapter import find_adapter
from vllm_flow.models.spec import Model

RIGHT = "Give a folder that peft's `save_pretrained` has written."
LORA = '{"peft_type": "LORA"}'


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, f"there is no folder '{{path}}'. {RIGHT}"),
        ({}, f"there is no adapter_config.json in '{{path}}'. {RIGHT}"),
        ({"adapter_config.json": "{"}, f"adapter_config.json cannot be read (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)). {RIGHT}"),
        ({"adapter_config.json": "[]"}, "adapter_config.json is not that of a LoRA, but of nothing that peft knows. Give a LoRA."),
        ({"adapter_config.json": '{"peft_type": "PREFIX_TUNING"}'}, "adapter_config.json is not that of a LoRA, but of PREFIX_TUNING. Give a LoRA."),
        ({"adapter_config.json": LORA}, f"there is no adapter_model.safetensors in '{{path}}'. {RIGHT}"),
        (
            {"adapter_config.json": LORA, "adapter_model.bin": "x"},
            "there is no adapter_model.safetensors in '{path}' (but adapter_model.bin). Pickled weights can run code and "
            "are never read: save it again with a newer peft.",
        ),
    ],
)  # fmt: skip
def test_what_is_no_adapter_is_told_before_anything_loads(
    files: dict[str, str] | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "adapter"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text, "utf-8")
    expected = words.format(path=folder)
    (problem,) = Model("x", path="here", adapter=str(folder)).problems()
    assert (problem.path, problem.problem) == (("adapter",), expected)
    assert main(["check", f"model.adapter={folder}"]) == 2
    assert capsys.readouterr().err == f"resources.engine.model.adapter (command line): {expected}\n"


def test_without_peft_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adapter_config.json").write_text(LORA, "utf-8")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the text is asserted
        find_adapter(str(tmp_path))
    assert str(caught.value) == "it needs peft, which is not installed. Run: pip install 'vllm-flow[adapt]'."


def test_a_place_that_cannot_be_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^there can be no such place \(.*\)\. Write another path\.$"):
        find_adapter("a\0b")
