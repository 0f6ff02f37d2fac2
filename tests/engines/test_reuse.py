"""What the record of a run says of a conversation whose earlier messages were not read again, or had to be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vllm_flow
from tests import tiny
from tests.engines.looping import LONG, STRIPPING


@pytest.mark.parametrize("rewrites", [False, True])
def test_the_record_says_where_reuse_stopped_when_a_template_rewrote_history(
    rewrites: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tiny.save(tmp_path / "tiny", "Llama")
    if rewrites:
        (folder / "chat_template.jinja").write_text(STRIPPING)
    given = [f"model.path={folder}", "engine.dtype=float32", "sampling.max_tokens=4"]
    with vllm_flow.load("dialogue", given, record="run") as session:
        session.run(f"<think>{LONG}</think>Why?")
        session.run("And then?")
    assert session.folder is not None
    timings = (session.folder / "timings.jsonl").read_text(encoding="utf-8").splitlines()
    first, second = map(json.loads, timings)
    assert (first["reuse_stopped_at"], first["cached_tokens"]) == (0, 0)
    if rewrites:
        assert (second["reuse_stopped_at"], second["cached_tokens"]) == (
            1 + len("user\n"),
            0,
        )  # a control token and its role
    else:
        assert second["reuse_stopped_at"] == first["prompt_tokens"]
        assert second["cached_tokens"] == first["prompt_tokens"] // 64 * 64
