"""Runs to replay: of the command, in an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.replay.runs import CODE, DATED, Said
from vllm_flow.cli import main


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.setenv("VLLM_FLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    CODE.__init__()  # type: ignore[misc]
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "dated.yaml").write_text(DATED, encoding="utf-8")
    return tmp_path


@pytest.fixture
def flow(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def call(*words: object) -> Said:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return Said(code, *capfd.readouterr())

    return call
