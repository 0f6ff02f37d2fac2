"""Sessions to try: of the command's own pipelines in an empty folder, and of engines whose behaviour a test controls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import vllm_flow
from tests import fakes
from tests.core.test_runner import DIALOGUE, FAKE
from vllm_flow import Session


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    fakes.fresh_log()
    return tmp_path


@pytest.fixture
def echo() -> Iterator[Session]:
    """A session with pipeline=dialogue and engine=echo, without a record."""
    with vllm_flow.load("dialogue", ["engine=echo"], record=False) as session:
        yield session


def fake(graph: dict[str, Any] | None = None, output: str = "reply", **own: Any) -> Session:
    """A session with the fake engine, without a record unless `own` says so."""
    return vllm_flow.build(graph or DIALOGUE, output, **{"resources": FAKE, "record": False, **own})


def rows(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def run_of(folder: Path | None) -> dict[str, Any]:
    """What `run.json` says."""
    assert folder is not None
    found: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return found
