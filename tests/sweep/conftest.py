"""Points of a small project, and a watch that only remembers."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.config import composer
from vllm_flow.core.events import Event, Observer
from vllm_flow.core.record import Record
from vllm_flow.sweep.points import Outcome, Point

TINY = [
    "model=custom", "model.architecture.hidden_size=32", "model.architecture.layers=2", "model.architecture.heads=4",
    "engine.dtype=float32", "sampling.max_tokens=12",
]  # fmt: skip


class Watched:
    """Remembers which points began and ended, and every event."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.ended: list[Outcome] = []
        self.events: list[tuple[str, Event]] = []

    def begin(self, point: Point, record: Record) -> Sequence[Observer]:
        self.began.append(point.folder.name)
        return (lambda event: self.events.append((point.folder.name, event)),)

    def end(self, outcome: Outcome) -> None:
        self.ended.append(outcome)


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three conversations of two turns each."""
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rows.jsonl"
    said = [{"conversation": name, "text": f"{name} says {number}"} for name in "abc" for number in (1, 2)]
    path.write_text("".join(json.dumps(one) + "\n" for one in said), encoding="utf-8")
    return path


def points(root: Path, *overrides: Sequence[str], resume: bool = False) -> list[Point]:
    """A point for each list of overrides, in `root/0`, `root/1`, …"""
    with composer() as compose:
        specs = [(tuple(one), compose(one)) for one in overrides]
    return [Point(root / str(place), lines, spec, resume) for place, (lines, spec) in enumerate(specs)]


def grid(common: Sequence[str], **values: Sequence[Any]) -> list[list[str]]:
    """Every combination of the values of sampling parameters, and of `seed`."""
    keys = [key if key == "seed" else f"sampling.{key}" for key in values]
    rows = itertools.product(*values.values())
    return [[*common, *(f"++{key}={value}" for key, value in zip(keys, row, strict=True))] for row in rows]


def results(folder: Path) -> bytes:
    return (folder / "results.jsonl").read_bytes()
