"""From the record of a run to its scores: real runs of the echo engine, and records as a killed run leaves them."""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.cli import main
from vllm_flow.core import registry
from vllm_flow.core.answers import Answer
from vllm_flow.core.errors import ConfigError, RecordError
from vllm_flow.core.messages import assistant, user
from vllm_flow.core.recorded import read
from vllm_flow.core.results import Failure
from vllm_flow.evaluation.answers import answers_of
from vllm_flow.evaluation.scores import Prompt, stacked
from vllm_flow.evaluation.scoring import score_run


def run(folder: Path, rows: list[dict[str, Any]], *overrides: str) -> Path:
    """The record of a run of the echo engine over these rows."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    words = ["engine=echo", f"input.path={folder / 'rows.jsonl'}", f"hydra.run.dir={folder / 'run'}", *overrides]
    assert main(words) in (0, 1)
    return folder / "run"


def rewrite(record: Path, change: Any) -> None:
    """Give each row of the results to `change`, and write what it gives back."""
    path = record / "results.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("".join(json.dumps(one) + "\n" for row in rows for one in change(row)), encoding="utf-8")


def scores_of(record: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (record / "scores.jsonl").read_text(encoding="utf-8").splitlines()]


TEXTS = [{"conversation": f"c{place}", "text": text} for place, text in enumerate(["It is 7.", "Is it 8", "none"])]


@pytest.fixture
def arithmetic(tmp_path: Path) -> Path:
    """Three prompts, two samples each, which the echo engine answers with the prompt; all references are 7."""
    record = run(tmp_path, TEXTS, "metrics=number", "+metrics.best={use: samples/pass_at, k: 2}")

    def twice(row: dict[str, Any]) -> list[dict[str, Any]]:
        second = {**row, "conversation": f"{row['conversation']}#1", "sample": 1, "index": 2 * row["index"] + 1}
        second["value"] = {**row["value"], "text": "7"}
        return [{**row, "index": 2 * row["index"], "reference": 7}, {**second, "reference": 7}]

    rewrite(record, twice)
    return record


def test_an_answer_is_what_the_record_says_of_it(tmp_path: Path) -> None:
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    rows = [{"id": "a", "messages": [*history, {"role": "user", "content": "go on now"}]}, {"id": "b"}]
    record = run(tmp_path, rows, "sampling.max_tokens=2")
    first, second = answers_of(read(record))
    assert (first.ttft_s or 0) > 0
    assert (first.seconds or 0) >= (first.ttft_s or 0)
    assert first == Answer(
        "a", 1, text="go on", asked=(user("Hi"), assistant("Ho"), user("go on now")), token_ids=first.token_ids,
        finish_reason="length", prompt_tokens=5, completion_tokens=2, ttft_s=first.ttft_s, seconds=first.seconds,
    )  # fmt: skip
    assert len(first.token_ids or ()) == 2
    assert (second.turn, second.text, second.index, second.seconds) == (None, None, 1, None)
    assert isinstance(second.failure, Failure)


def test_a_run_with_repeats_and_references_is_scored_as_it_is_recorded(tmp_path: Path) -> None:
    rows = [
        {"conversation": "a", "text": "It is 42.", "reference": 42},
        {"conversation": "b", "text": "7", "reference": "8"},
    ]
    scores = score_run(run(tmp_path, rows, "metrics=repeated", "sweep.repeat=5"))
    assert (scores.prompts, scores.samples) == ((Prompt("a", 1), Prompt("b", 1)), (0, 1, 2, 3, 4))
    assert scores.array("correct").tolist() == [[1] * 5, [0] * 5]
    assert [scores.array(name).tolist() for name in ("mean", "pass_at_5", "majority_at_5")] == [[[1], [0]]] * 3
    assert scores.array("distinct")[0].tolist() == [pytest.approx(0.2)]  # five times the same two-grams
    assert math.isnan(scores.array("distinct")[1][0])  # of one token there are none


def test_scores_stand_beside_the_results_one_line_an_answer(arithmetic: Path) -> None:
    score_run(arithmetic)
    rows = scores_of(arithmetic)
    assert [(row["conversation"], row["turn"], row["sample"], row["index"]) for row in rows] == [
        ("c0", 1, 0, 0), ("c0#1", 1, 1, 1), ("c1", 1, 0, 2), ("c1#1", 1, 1, 3), ("c2", 1, 0, 4), ("c2#1", 1, 1, 5),
    ]  # fmt: skip
    assert [row["metrics"]["correct"] for row in rows] == [True, True, False, True, False, True]
    assert rows[0]["metrics"].keys() == {
        "tokens", "words", "characters", "truncated", "repetition", "ttft_s", "seconds", "correct",
    }  # fmt: skip
    assert not any("failed" in row for row in rows)
    if os.name == "posix":
        assert stat.S_IMODE((arithmetic / "scores.jsonl").stat().st_mode) == 0o600
    assert sorted(one.name for one in arithmetic.iterdir() if one.name.startswith(".")) == [".hydra", ".lock"]


def test_samples_of_one_prompt_are_a_row_of_the_table(arithmetic: Path) -> None:
    scores = score_run(arithmetic)
    assert scores.prompts == (Prompt("c0", 1), Prompt("c1", 1), Prompt("c2", 1))
    assert scores.samples == (0, 1)
    assert scores.array("correct").tolist() == [[1, 1], [0, 1], [0, 1]]
    assert scores.array("best").tolist() == [[1], [1], [1]]
    assert scores.array("words").tolist() == [[3, 1], [3, 1], [1, 1]]
    correct, best = scores.summaries["correct"], scores.summaries["best"]
    assert (correct.mean, correct.prompts, correct.values, correct.not_applied, correct.failed) == (
        pytest.approx(4 / 6), 3, 6, 0, 0,
    )  # fmt: skip
    assert (best.mean, best.values, best.over_samples, best.use) == (1, 3, True, "samples/pass_at")
    repetition = scores.summaries["repetition"]
    assert (repetition.mean, repetition.values, repetition.not_applied) == (None, 0, 6)  # all are too short


def test_points_are_stacked_by_prompt_and_sample_whatever_each_of_them_lacks(arithmetic: Path, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other = run(tmp_path / "b", TEXTS[::-1][:2], "metrics=number")  # c2 before c1, no c0, one sample, no references
    points = score_run(arithmetic), score_run(other)
    table, prompts = stacked(points, "words")
    assert [one.conversation for one in prompts] == ["c0", "c1", "c2"]
    assert table.shape == (2, 3, 2)
    assert [[[None if math.isnan(one) else one for one in row] for row in point] for point in table.tolist()] == [
        [[3, 1], [3, 1], [1, 1]],
        [[None, None], [3, None], [1, None]],
    ]
    best, _ = stacked(points, "best")
    assert (best.shape, best[0].tolist(), bool(math.isnan(best[1].max()))) == ((2, 3, 1), [[1], [1], [1]], True)


def test_a_prompt_counts_once_however_often_it_was_asked(arithmetic: Path) -> None:
    rewrite(arithmetic, lambda row: [] if row["conversation"] == "c1#1" else [row])
    correct = score_run(arithmetic).summaries["correct"]
    assert (correct.mean, correct.values) == (pytest.approx((1 + 0 + 0.5) / 3), 5)


def test_a_metric_that_raises_fails_its_own_value_and_no_other(arithmetic: Path) -> None:
    rewrite(arithmetic, lambda row: [{**row, "reference": "many"} if row["conversation"].startswith("c1") else row])
    scores = score_run(arithmetic)
    reason = "the reference 'many' has no number. Give one."
    assert [row.get("failed") for row in scores_of(arithmetic)] == [None, None, {"correct": reason}, {"correct": reason}, None, None]  # fmt: skip
    assert [(one.metric, one.reason, one.count, one.first) for one in scores.unscored] == [
        ("correct", reason, 2, Prompt("c1", 1))
    ]
    correct, best, words = (scores.summaries[name] for name in ("correct", "best", "words"))
    assert (correct.values, correct.failed, correct.not_applied) == (4, 2, 0)
    assert (best.values, best.failed, best.not_applied) == (2, 0, 1)
    assert (words.values, words.failed) == (6, 0)


def test_a_turn_that_failed_is_counted_and_has_no_score(tmp_path: Path) -> None:
    scores = score_run(run(tmp_path, [*TEXTS, {"conversation": "bad"}], "metrics=contains"))
    assert scores.failed_turns == 1
    assert scores.prompts[-1] == Prompt(f"{tmp_path / 'rows.jsonl'}:4", None)
    words = scores.summaries["words"]
    assert (words.values, words.not_applied, words.failed) == (3, 1, 0)


def test_several_answers_of_one_turn_are_its_samples(tmp_path: Path) -> None:
    record = run(tmp_path, TEXTS[:1])

    def several(row: dict[str, Any]) -> list[dict[str, Any]]:
        return [{**row, "value": [{**row["value"], "text": text} for text in ("a", "b c", "d e f")]}]

    rewrite(record, several)
    scores = score_run(record)
    assert (scores.samples, scores.array("words").tolist()) == ((0, 1, 2), [[1, 2, 3]])


def test_several_answers_of_a_repeated_turn_are_samples_of_one_prompt(tmp_path: Path) -> None:
    words = ("pipeline=best_of", "output=candidates", "sampling.n=2", "sweep.repeat=2", "metrics=contains")
    record = run(tmp_path, [{"conversation": "a", "text": "x", "reference": "x"}], *words)
    scores = score_run(record)
    assert (scores.prompts, scores.samples) == ((Prompt("a", 1),), (0, 1, 2, 3))

    def told(row: dict[str, Any]) -> list[dict[str, Any]]:
        """As many answers as the repeat has places, each of as many words as it has on its own."""
        texts = {"a": ["w", "w w", "w w w"], "a#1": ["w w w w"]}[row["conversation"]]
        return [{**row, "value": [{**row["value"][0], "text": text} for text in texts]}]

    rewrite(record, told)
    scores = score_run(record)
    assert scores.problems == ()
    assert (scores.samples, scores.array("words").tolist()) == ((0, 1, 2, 4), [[1, 4, 2, 3]])


def test_the_time_of_an_answer_is_that_of_the_longest_request_of_its_own_node(tmp_path: Path) -> None:
    record = run(tmp_path, TEXTS[:1])
    (row,) = [json.loads(line) for line in (record / "timings.jsonl").read_text(encoding="utf-8").splitlines()]

    def timed(*requests: tuple[str, int, float, float]) -> tuple[float | None, float | None]:
        lines = [dict(zip(("node", "sample", "ttft_s", "seconds"), one, strict=True)) for one in requests]
        (record / "timings.jsonl").write_text("".join(json.dumps(row | line) + "\n" for line in lines), "utf-8")
        (answer,) = answers_of(read(record))
        return answer.ttft_s, answer.seconds

    assert row["node"] == "reply"
    assert timed(("reply", 0, 1, 3), ("reply", 1, 2, 5), ("reply", 2, 4, 4)) == (2, 5)
    assert timed(("candidates", 0, 1, 9), ("reply", 0, 2, 3)) == (2, 3)
    assert timed(("candidates", 0, 1, 2), ("candidates", 1, 3, 9), ("judge", 0, 4, 5)) == (3, 9)  # it only chooses
    assert timed() == (None, None)


def test_a_cut_last_line_is_left_out_and_told(arithmetic: Path) -> None:
    path = arithmetic / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    scores = score_run(arithmetic)
    assert scores.problems == (f"{path}:6: the last line is cut off, and was left out.",)
    assert scores.summaries["words"].values == 5


def test_an_answer_that_is_there_twice_counts_once_and_is_told(arithmetic: Path) -> None:
    again = {
        "text": "7",
        "token_ids": [1],
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
    rewrite(arithmetic, lambda row: [row, {**row, "value": again}] if row["index"] == 4 else [row])
    scores = score_run(arithmetic)
    assert scores.array("correct").tolist() == [[1, 1], [0, 1], [1, 1]]
    assert scores.problems == (f"{arithmetic}: 1 answers are there more than once. The last of each counts.",)


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("results.jsonl", '{"index": 0}\n', "results.jsonl:1: this is no result: 'message' is missing. Restore the file, or run again."),
        ("results.jsonl", "{\n{}\n", "results.jsonl:1: no JSON (Expecting property name enclosed in double quotes: line 2 column 1 (char 2)). Take the file as the run wrote it."),
        ("timings.jsonl", '{"turn": 1}\n', "timings.jsonl:1: this is no timing: 'conversation' is missing. Restore the file, or run again."),
        ("config.yaml", "name: x\ngraph: {}\noutput: y\nfuture: 1\n", "config.yaml: this version knows no key 'future'. Read the record with the one that wrote it."),
    ],
)  # fmt: skip
def test_a_broken_record_is_an_error_with_its_place(arithmetic: Path, file: str, text: str, problem: str) -> None:
    (arithmetic / file).write_text(text, encoding="utf-8")
    with pytest.raises(RecordError) as caught:
        score_run(arithmetic)
    assert str(caught.value) == f"{arithmetic}/{problem}"
    assert list(arithmetic.glob(".*.new")) == []


def test_a_record_without_results_is_an_error_and_no_empty_one(arithmetic: Path) -> None:
    (arithmetic / "results.jsonl").unlink()
    with pytest.raises(RecordError) as caught:
        score_run(arithmetic)
    path = arithmetic / "results.jsonl"
    assert str(caught.value) == f"{path}: there is no such file. Restore it, or run again."


def test_a_folder_that_is_no_run_says_what_would_be_one(tmp_path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        score_run(tmp_path)
    right = "Give the folder of a run, or of one point of a sweep."
    assert str(caught.value) == f"{tmp_path}: there is no run.json in it. {right}"


OWN = '''"""Metrics of the project."""

from vllm_flow import metric


@metric("own/lines")
def lines(text: str) -> float:
    """How many lines."""
    return text.count("\\n") + 1
'''


def test_a_two_line_metric_of_the_project_is_found_listed_recorded_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(registry.metric, "_entries", dict(registry.metric._entries))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages/lines.py").write_text(OWN, encoding="utf-8")
    record = run(tmp_path, TEXTS, "+metrics.lines.use=own/lines")
    assert score_run(record).array("lines").tolist() == [[1], [1], [1]]
    capsys.readouterr()
    assert main(["ls", "measures"]) == 0
    assert "measures\town/lines\tHow many lines.\n" in capsys.readouterr().out
    assert main(["ls", "own/lines"]) == 0
    assert capsys.readouterr().out == (
        "own/lines: measure\nHow many lines.\n\nasks for  text: str\nmakes     float\n\nexample\n"
        "  metrics:\n    lines:\n      use: own/lines\n"
    )
    (tmp_path / "stages/lines.py").unlink()
    with pytest.raises(ConfigError) as caught:
        score_run(record)
    assert str(caught.value).startswith(
        "plugins.stages/lines: 'stages/lines.py' cannot be imported: FileNotFoundError: "
    )
