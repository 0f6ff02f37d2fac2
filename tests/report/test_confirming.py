"""Winners on fresh seeds: which points run again, and that only then one is called better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.cli import main

from .conftest import change_run, results, rewrite
from .test_report import Captured, as_json, report


@pytest.fixture
def confirmed(project: Path, capsys: Captured) -> Path:
    """The sweep after `--confirm`."""
    assert main(["report", "sweep", "--confirm"]) == 0
    assert sorted(capsys.readouterr().err.splitlines()[:2]) == [
        "[1/2] 1 with fresh seeds: finished", "[2/2] 0 with fresh seeds: finished",
    ]  # fmt: skip
    return project / "sweep"


def said_wrong(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "value": {**row["value"], "text": "no idea"}}


def test_the_winner_and_the_baseline_run_again_with_another_seed(confirmed: Path, capsys: Captured) -> None:
    assert sorted(path.parent.name for path in confirmed.glob("confirm/*/run.json")) == ["0", "1"]
    runs = [json.loads((confirmed / f"confirm/{n}/run.json").read_text(encoding="utf-8")) for n in (0, 1)]
    assert [run["seed"] for run in runs] == [1, 1]
    assert [len(results(confirmed / f"confirm/{n}")) for n in (0, 1)] == [40, 40]
    before = (confirmed / "confirm/0/results.jsonl").stat().st_mtime_ns
    _, said = report(capsys, "sweep", "--confirm")
    assert not any("with fresh seeds: finished" in line for line in said)
    assert (confirmed / "confirm/0/results.jsonl").stat().st_mtime_ns == before


def test_answers_that_no_seed_changes_confirm_nothing(confirmed: Path, capsys: Captured) -> None:
    table, said = report(capsys, "sweep")
    assert table[0][2].endswith(" better at first, seeds change nothing")
    assert said[0].endswith("There is no chance in these answers: only other prompts could say more.")


def test_a_winner_that_wins_again_is_better(confirmed: Path, capsys: Captured) -> None:
    rewrite(confirmed / "confirm/1", lambda row: said_wrong(row) if row["index"] == 0 else row)
    table, said = report(capsys, "sweep")
    assert table[0][2].endswith(" better, confirmed")
    assert said[0].startswith("correct: better, confirmed: point 0 (sampling.temperature=0) by +")
    assert " on fresh seeds (at first +" in said[0]
    cell = as_json(capsys, "sweep")["metrics"][0]["cells"][0]
    assert cell["fresh_difference"] >= cell["difference"]


def test_a_winner_that_loses_on_fresh_seeds_is_not(confirmed: Path, capsys: Captured) -> None:
    rewrite(confirmed / "confirm/0", said_wrong)
    table, _ = report(capsys, "sweep")
    assert table[0][2].endswith(" better at first, not confirmed")


def test_answers_from_a_store_are_not_fresh(confirmed: Path, capsys: Captured) -> None:
    change_run(confirmed / "confirm/0", turns={"answered": 40, "failed": 0, "stored": 40})
    table, said = report(capsys, "sweep")
    assert table[0][2].endswith(" better at first")
    assert (
        "confirm: 0: their answers came from the store and not from fresh seeds. They confirm nothing; use store=memory."
        in said
    )


def test_an_interrupted_confirmation_counts_for_nothing(confirmed: Path, capsys: Captured) -> None:
    change_run(confirmed / "confirm/0", status="interrupted")
    table, said = report(capsys, "sweep")
    assert table[0][2].endswith(" better at first")
    assert "confirm: point 0 is interrupted. Ask with --confirm again." in said


def test_other_code_is_told(confirmed: Path, capsys: Captured) -> None:
    change_run(confirmed / "confirm/0", versions={"python": "3.0"})
    change_run(confirmed / "confirm/1", versions={"python": "3.0"})
    _, said = report(capsys, "sweep")
    (line,) = [line for line in said if line.startswith("confirm: ")]
    assert "versions.python" in line
    assert line.endswith(" changed between the sweep and its confirmation.")


def test_without_a_winner_there_is_nothing_to_confirm(project: Path, capsys: Captured) -> None:
    _, said = report(capsys, "sweep", "--confirm", "metrics=exact")
    assert said[0] == "Nothing is better at first, so there is nothing to confirm."
    assert not (project / "sweep/confirm").exists()
