"""The number that a search is told: of a whole point or there is none, since a part is no fair sample of all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.core.errors import ConfigError
from vllm_flow.core.recorded import read
from vllm_flow.evaluation.objective import Objective, objective

from .test_scoring import rewrite, run

ROWS = [{"conversation": f"c{place}", "text": f"It is {place}.", "reference": 1} for place in range(4)]
CORRECT = Objective("correct", False, True)


@pytest.fixture
def point(tmp_path: Path) -> Path:
    """A finished point: one answer of four is right."""
    return run(tmp_path, ROWS, "metrics=number")


def test_it_is_the_mean_of_a_metric_that_the_configuration_has(point: Path) -> None:
    spec = read(point).spec
    assert objective("correct", spec) == CORRECT
    assert CORRECT.of(point) == 0.25
    assert objective("words", spec).of(point) == 3
    with pytest.raises(ConfigError) as caught:
        objective("corect", spec)
    assert str(caught.value).startswith("sweep.search.metric: there is no metric 'corect'. Did you mean 'correct'? ")


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_a_point_that_has_not_finished_has_none(point: Path, status: str) -> None:
    of_run = json.loads((point / "run.json").read_text(encoding="utf-8"))
    (point / "run.json").write_text(json.dumps(of_run | {"status": status}), encoding="utf-8")
    assert CORRECT.of(point) is None
    rewrite(point, lambda row: [{**row, "value": {"value": 1}}])
    assert Objective("score", True, True).of(point) is None


def test_a_point_of_which_something_was_left_out_has_none(point: Path) -> None:
    results = point / "results.jsonl"
    results.write_bytes(results.read_bytes()[:-9])
    assert CORRECT.of(point) is None


def test_a_point_with_a_turn_that_failed_has_none(point: Path) -> None:
    failure = {"node": "reply", "kind": "EngineError", "message": "gone"}

    def failed(row: dict[str, Any]) -> list[dict[str, Any]]:
        return [row if row["index"] else {**row, "value": None, "failure": failure}]

    rewrite(point, failed)
    assert CORRECT.of(point) is None


def test_a_point_with_an_answer_that_its_metric_failed_on_has_none(point: Path) -> None:
    rewrite(point, lambda row: [row if row["index"] else {**row, "reference": "many"}])
    assert CORRECT.of(point) is None
    assert Objective("words", False, None).of(point) == 3  # that one did not fail


def test_a_folder_without_a_record_has_none(tmp_path: Path) -> None:
    assert CORRECT.of(tmp_path) is None
    assert Objective("score", True, True).of(tmp_path) is None
