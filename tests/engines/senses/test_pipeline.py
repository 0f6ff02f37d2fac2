"""Images through a whole pipeline, from Python, with a model that sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.senses.showing import Direct, asked, said
from tests.tiny_media import picture
from vllm_flow import load

OPTIONS = (
    "engine=transformers",
    "engine.dtype=float32",
    "engine.device=cpu",
    "sampling=greedy",
    "sampling.max_tokens=12",
)


def test_a_conversation_about_images_is_that_of_generate(
    saved: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = said(picture(1), "What is this?"), said("And this?", picture(2, 90, 60))
    direct = Direct(saved("qwen3_vl"))
    with load("dialogue", [f"model.path={saved('qwen3_vl')}", *OPTIONS]) as session:
        one, two = (session.run(message, conversation="a").value for message in (first, second))
    wanted = direct.answer(asked(first))
    assert list(one.token_ids) == wanted
    assert list(two.token_ids) == direct.answer(asked(first, one.text, second))
    assert two.usage.prompt_tokens == direct.inputs(asked(first, one.text, second))["input_ids"].shape[1]
