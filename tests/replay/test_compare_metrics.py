"""Metrics of two runs side by side: means, the difference with its interval, and a verdict only where there can be one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vllm_flow.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def runs(here: Path, rows: int) -> None:
    """One that says what is asked for, and one that says more."""
    lines = "".join(f"word {place},word {place}\n" for place in range(rows))
    (here / "rows.csv").write_text(f"asked,right\n{lines}", encoding="utf-8")
    words = ["engine=echo", "input.path=rows.csv", "input.reference=right", "metrics=exact"]
    assert main([*words, "input.text={asked}", "hydra.run.dir=a"]) == 0
    assert main([*words, "input.text={asked} and more", "hydra.run.dir=b"]) == 0


def test_a_metric_is_compared_with_its_interval(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs(here, 20)
    capsys.readouterr()
    assert main(["compare", "a", "b"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("metrics: first → second, and the difference with its 95 % interval")
    name, _, said = lines[start + 1].strip().partition(": ")
    assert name in {"correct", "exact"}
    assert said.startswith("1 → 0, -1 [-")
    assert said.endswith("], worse")
    words = next(line for line in lines if line.startswith("  words: "))
    assert words.startswith("  words: 2 → 4")


def test_below_eight_prompts_there_is_no_interval(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs(here, 3)
    capsys.readouterr()
    assert main(["compare", "a", "b", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]
    one = found.get("correct") or found["exact"]
    assert (one["first"], one["mean"], one["verdict"], one["difference_interval"]) == (
        1.0,
        0.0,
        "too few prompts",
        None,
    )


def test_a_run_that_cannot_be_scored_is_compared_all_the_same(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs(here, 3)
    (here / "b/scores.jsonl").mkdir()
    capsys.readouterr()
    assert main(["compare", "a", "b"]) == 0
    said = capsys.readouterr().out
    assert "outputs: 3 of 3 rows differ" in said
    assert "metrics: not compared. b/scores.jsonl: it cannot be written: " in said


def test_what_two_runs_define_differently_is_described_and_not_compared(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "".join(f"word {place} and more,word {place}\n" for place in range(20))
    (here / "rows.csv").write_text(f"asked,right\n{lines}", encoding="utf-8")
    words = ["engine=echo", "input.path=rows.csv", "input.reference=right", "+metrics.mean={use: samples/mean}"]
    words += ["input.text={asked}", "+metrics.share={use: text/chrf}"]
    assert main([*words, "metrics=exact", "hydra.run.dir=a"]) == 0
    assert main([*words, "metrics=contains", "+metrics.share.word_order=0", "hydra.run.dir=b"]) == 0
    capsys.readouterr()
    assert main(["compare", "a", "b"]) == 0
    apart = "the two runs define it differently, so they are not compared by it."
    assert capsys.readouterr().out.splitlines()[-2:] == [f"  correct: {apart}", f"  mean: {apart}"]
    assert main(["compare", "a", "b", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["problems"][-2:] == [f"correct: {apart}", f"mean: {apart}"]
    found = said["metrics"]
    for name in ("correct", "mean"):  # that is the mean of the other
        assert (found[name]["first"], found[name]["mean"], found[name]["verdict"]) == (0.0, 1.0, None)
        assert (found[name]["difference"], found[name]["difference_interval"]) == (None, None)
    assert found["share"]["verdict"] == "no difference shown"  # a default that is written out is no other metric


def test_what_has_no_score_or_was_left_out_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs(here, 20)
    path = here / "b/results.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    first = json.dumps({**json.loads(lines[0]), "reference": []}) + "\n"
    path.write_text("".join([first, *lines[1:]])[:-9], encoding="utf-8")
    capsys.readouterr()
    assert main(["compare", "a", "b"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[-4:] == [
        "  correct, B: 2 of 20 answers have no score.",
        "  correct, B: 2 of 20 pairs are left out: an answer has no score.",
        "  correct: 1 without a score, because it failed: the reference is an empty list. Give one right answer or more.",
        f"  {Path('b/results.jsonl')}:20: the last line is cut off, and was left out.",
    ]
