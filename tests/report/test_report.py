"""`vllm-flow report` as a person meets it: a sweep of the echo engine, and sweeps that are not whole."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.cli import main

from .conftest import TEMPERATURES, change_run, results, rewrite, right

Captured = pytest.CaptureFixture[str]


def report(capsys: Captured, *words: str, code: int = 0) -> tuple[list[list[str]], list[str]]:
    """The cells of the table below its head, and the lines beside it."""
    capsys.readouterr()
    assert main(["report", *words]) == code
    said = capsys.readouterr()
    head, *rows = [line.split("\t") for line in said.out.splitlines()]
    assert (head[0], head[-2:]) == ("point", ["tokens", "s an answer"])
    assert {len(row) for row in rows} == {len(head)}
    return rows, said.err.splitlines()


def as_json(capsys: Captured, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["report", *words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_sweep_is_a_table_with_verdicts_and_a_page(project: Path, capsys: Captured) -> None:
    main(["report", "sweep"])
    assert capsys.readouterr().out.startswith("point\tcorrect\tagainst the baseline\ttokens\ts an answer\n")
    table, said = report(capsys, "sweep")
    assert [row[0] for row in table] == [f"{n} sampling.temperature={one}" for n, one in enumerate(TEMPERATURES)]
    shares = [sum(map(right, rows)) / len(rows) for rows in (results(project / f"sweep/{n}") for n in range(3))]
    assert [row[1].split(" [")[0] for row in table] == [f"{share:.3g}" for share in shares]
    better, worse = shares[0] - shares[1], shares[2] - shares[1]
    assert [row[2] for row in table] == [f"+{better:.3g} better at first", "baseline", f"−{-worse:.3g} worse"]
    tokens = sum(row["value"]["usage"]["completion_tokens"] for row in results(project / "sweep/0"))
    assert [row[3] for row in table] == [str(tokens)] * 3
    assert said[0].startswith(f"correct: better at first: point 0 (sampling.temperature=0) by +{better:.3g} [+")
    assert said[0].endswith("]. Run them again with fresh seeds: vllm-flow report sweep --confirm")
    assert said[1] == "correct: worse than the baseline: point 2 (sampling.temperature=1.8)."
    assert said[2].startswith(
        "Differences are from the baseline, point 1 (sampling.temperature=0.9), at a confidence of 95%; "
        "the 2 intervals of one metric hold together. Method: paired by prompt and seed"
    )
    assert said[3:] == ["", "sweep/report.html"]
    assert (project / "sweep/report.html").exists()


def test_the_data_are_those_of_the_table_for_every_metric(project: Path, capsys: Captured) -> None:
    data = as_json(capsys, "sweep")
    assert (data["kind"], data["baseline"], data["keys"]) == ("sweep", 1, ["sampling.temperature"])
    assert [one["values"] for one in data["points"]] == [{"sampling.temperature": one} for one in TEMPERATURES]
    metrics = {one["name"]: one for one in data["metrics"]}
    assert next(iter(metrics)) == "correct"
    assert {"tokens", "truncated", "seconds"} < set(metrics)
    assert [cell["verdict"] for cell in metrics["correct"]["cells"]] == ["better at first", None, "worse"]
    assert all(cell["p_value"] < 0.05 for cell in metrics["correct"]["cells"] if cell["verdict"])
    for name in ("characters", "seconds"):  # one says nothing of quality, one depends on the batch
        assert [cell["verdict"] for cell in metrics[name]["cells"]] == [None] * 3
        assert metrics[name]["cells"][0]["difference"] is not None
    assert data["about"]["resources"]["engine"] == {"engine": "echo", "model": "echo"}
    assert data["about"]["versions"]["vllm-flow"] == "0.1.0"


def test_points_that_have_not_finished_are_said_and_compared_with_nothing(project: Path, capsys: Captured) -> None:
    change_run(project / "sweep/0", status="interrupted")
    kept = (project / "sweep/0/results.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)[:6]
    (project / "sweep/0/results.jsonl").write_text("".join(kept), encoding="utf-8")
    (project / "sweep/2/run.json").unlink()
    table, said = report(capsys, "sweep")
    assert table[0][0] == "0 sampling.temperature=0 (interrupted)"
    assert table[0][2] == "–"
    assert table[2] == ["2 sampling.temperature=1.8 (not run)", "–", "–", "–", "–"]
    assert said[0] == (
        "Points 0, 2: not finished (interrupted, not run), so compared with nothing. Go on with: vllm-flow resume sweep"
    )
    cells = as_json(capsys, "sweep")["metrics"][0]["cells"]
    assert [cell["verdict"] for cell in cells] == [None, None, None]
    assert cells[0]["interval"] is None


def test_without_a_finished_baseline_nothing_is_compared(project: Path, capsys: Captured) -> None:
    change_run(project / "sweep/1", status="running")
    table, said = report(capsys, "sweep")
    assert said[:2] == [
        "Point 1 (sampling.temperature=0.9): not finished (running, or was killed), so compared with nothing. "
        "Go on with: vllm-flow resume sweep",
        "The baseline, point 1 (sampling.temperature=0.9), is among them: there are no comparisons.",
    ]
    assert [row[2] for row in table] == ["–", "baseline", "–"]


def test_a_broken_record_does_not_hide_the_others(project: Path, capsys: Captured) -> None:
    (project / "sweep/2/results.jsonl").write_text("{}\n{}\n", encoding="utf-8")
    table, said = report(capsys, "sweep")
    assert table[0][2].endswith("better at first")
    assert table[2][0].endswith("(unreadable)")
    assert f"{project}/sweep/2/results.jsonl:1: this is no result: 'message' is missing. Restore the file, or run again." in said  # fmt: skip


def test_failed_turns_have_no_scores_and_are_counted(project: Path, capsys: Captured) -> None:
    failure = {"node": "reply", "kind": "EngineError", "message": "gone"}
    rewrite(project / "sweep/2", lambda row: row if row["index"] else {**row, "value": None, "failure": failure})
    change_run(project / "sweep/2", turns={"answered": 39, "failed": 1, "stored": 0})
    _, said = report(capsys, "sweep")
    assert said[0] == (
        "1 turn of point 2 (sampling.temperature=1.8) failed and have no scores. "
        "Answer them again with: vllm-flow resume sweep --retry-errors"
    )
    assert "correct, point 2 (sampling.temperature=1.8): 1 of 40 answers have no score." in said


def test_a_single_run_is_one_point_without_comparison(project: Path, capsys: Captured) -> None:
    table, said = report(capsys, "sweep/0")
    assert [len(row) for row in table] == [4]
    assert said == ["", "sweep/0/report.html"]
    page = (project / "sweep/0/report.html").read_text(encoding="utf-8")
    assert "from the baseline</th>" not in page
    assert "noisy: one run" in page


def test_other_metrics_can_be_asked_for(project: Path, capsys: Captured) -> None:
    assert as_json(capsys, "sweep", "metrics=exact")["metrics"][0]["use"] == "answer/exact"
    data = as_json(capsys, "sweep", "metrics.said={use: answer/regex, pattern: 'q1'}")
    assert [one["name"] for one in data["metrics"] if one["configured"]] == ["said"]


def test_without_a_metric_of_quality_nothing_is_called_better(project: Path, capsys: Captured) -> None:
    table, said = report(capsys, "sweep", "metrics=default")
    assert said[0] == (
        "No metric of quality was asked for, so nothing here says which answers are better. "
        "Add one, such as metrics=exact, with a `reference` in each row of the input."
    )
    assert not any("better at first" in cell for row in table for cell in row)


def test_points_that_define_a_metric_differently_are_not_compared_by_it(project: Path, capsys: Captured) -> None:
    words = ["engine=echo", "input.path=rows.jsonl", "hydra.sweep.dir=apart", "-m", "metrics=exact,contains"]
    assert main(words) == 0
    rewrite(project / "apart/1", lambda row: {**row, "value": {**row["value"], "text": f"It is {row['reference']}"}})
    table, said = report(capsys, "apart")
    assert [row[1:3] for row in table] == [["0", "baseline"], ["1", "–"]]
    assert said[0] == (
        "correct: not all points define it alike, so none is compared by it. "
        "Score all alike: vllm-flow report apart metrics=NAME."
    )
    table, said = report(capsys, "apart", "metrics=contains")
    assert table[1][2].endswith("better at first")
    assert not any("alike" in line for line in said)


def test_of_too_few_prompts_no_point_is_better(project: Path, capsys: Captured) -> None:
    for n in range(3):
        lines = (project / f"sweep/{n}/results.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (project / f"sweep/{n}/results.jsonl").write_text("".join(lines[:14]), encoding="utf-8")
    table, said = report(capsys, "sweep")
    assert said == [
        "correct: too few prompts to compare points 0, 2 with the baseline: "
        "7 at most, and below 8 one odd prompt would decide it.",
        "",
        "sweep/report.html",
    ]
    assert [row[2].endswith("too few prompts") for row in table] == [True, False, True]


def test_what_two_points_have_in_common_decides_whether_it_is_too_little(project: Path, capsys: Captured) -> None:
    for n, kept in ((0, slice(14, None)), (1, slice(28)), (2, slice(14, None))):  # 13 and 14 prompts, and 7 of both
        lines = (project / f"sweep/{n}/results.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
        (project / f"sweep/{n}/results.jsonl").write_text("".join(lines[kept]), encoding="utf-8")
    _, said = report(capsys, "sweep")
    assert said[0] == (
        "correct: too few prompts to compare points 0, 2 with the baseline: "
        "7 at most, and below 8 one odd prompt would decide it."
    )
    assert not any("7 prompts have pairs" in line for line in said)  # for it is said


def test_the_time_of_a_point_that_was_interrupted_in_between_is_not_known(project: Path, capsys: Captured) -> None:
    change_run(project / "sweep/0", resumed=["2026-11-01T10:00:00+00:00"])
    change_run(project / "sweep/2", status="interrupted")
    known = [one["cost"]["wall_s"] for one in as_json(capsys, "sweep")["points"]]
    assert (known[0], known[2]) == (None, None)
    assert known[1] > 0


def test_no_difference_is_said_with_the_smallest_that_would_be_found(project: Path, capsys: Captured) -> None:
    for n in (0, 2):
        (project / f"sweep/{n}/results.jsonl").write_bytes((project / "sweep/1/results.jsonl").read_bytes())
    _, said = report(capsys, "sweep")
    start = "correct: no difference shown between the baseline and points 0, 2. A true difference of "
    assert said[0].startswith(start)
    assert said[0].endswith(" would be found in about 80 of 100 such sweeps.")


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        ([], 2, "DIR: 0 folders are named. Name one, that of a run or a sweep."),
        (["a", "b"], 2, "DIR: 2 folders are named. Name one, that of a run or a sweep."),
        (["sweep", "seed=1"], 2, "seed=1: a record stays as it is. Only metrics can be chosen again: metrics=…"),
        (["sweep", "--jsn"], 2, "--jsn (command line): there is no such flag. Did you mean '--json'? Flags: --confirm, --help, --json, --png, -h."),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_told(
    project: Path, capsys: Captured, words: list[str], code: int, problem: str
) -> None:
    assert main(["report", *words]) == code
    assert capsys.readouterr().err == f"{problem}\n"


def test_a_folder_that_is_neither_is_told(project: Path, capsys: Captured) -> None:
    assert main(["report", "stages"]) == 1
    where = project / "stages"
    assert capsys.readouterr().err == (
        f"vllm-flow: {where}: there is no run.json or sweep.json in it. Name the folder of a run or a sweep.\n"
    )


def test_pictures_need_matplotlib_and_nothing_else_does(project: Path, capsys: Captured) -> None:
    _, said = report(capsys, "sweep", "--png")
    if importlib.util.find_spec("matplotlib") is None:
        assert said[0] == '--png: matplotlib is not installed. Install it: pip install "vllm-flow[plot]".'
    else:
        assert said[0] == str(project / "sweep/plots/correct.png")
        assert (project / "sweep/plots/correct.png").read_bytes().startswith(b"\x89PNG")
    assert said[-1] == "sweep/report.html"
