"""The judge's run is a record like any other: gone on with, never done twice, and never mixed with another."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import shipped
from vllm_flow.cli import main

from .conftest import Ran, judge, lines, read, sweep

Flow = Callable[..., Ran]


def test_a_judge_that_was_killed_goes_on_where_it_stopped(project: Path, flow: Flow) -> None:
    sweep("3,5")
    words = judge("longer", "graph.verdict.seconds=0.2", "concurrency=2")
    process = subprocess.Popen([sys.executable, "-m", "vllm_flow", *words], stderr=subprocess.DEVNULL)
    results = Path("s/judge/results.jsonl")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (results.exists() and results.read_bytes().count(b"\n") >= 4):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = results.read_bytes().count(b"\n")
    assert 4 <= before < 20
    assert not Path("s/judge.json").exists()
    ran = flow(*words)
    assert (ran.code, ran.rows[0][3]) == (0, "10")
    rows = lines("s/judge/results.jsonl")
    assert [row["index"] for row in rows] == list(range(20))
    done = [one for one in lines("s/judge/events.jsonl") if one["event"] == "turn done"]
    assert len(done) == 20  # none of them twice
    assert read("s/judge/run.json")["resumed"]


def test_a_complete_judgement_is_read_and_not_made_again(project: Path, flow: Flow) -> None:
    sweep("3,5")
    first = flow(*judge("longer"))
    record, said = Path("s/judge/run.json").read_bytes(), read("s/judge.json")
    again = flow(*judge("longer"))
    assert again.out == first.out
    assert again.said == first.said[1:]  # no verdict was asked for
    assert (Path("s/judge/run.json").read_bytes(), read("s/judge.json")) == (record, said)
    Path("s").rename("moved")
    assert flow("judge", "moved", *judge("longer")[2:]).out == first.out


def test_another_judge_does_not_replace_verdicts(project: Path, flow: Flow) -> None:
    sweep("3,5")
    flow(*judge("longer"))
    where = project / "s" / "judge"
    refused = f"vllm-flow: {where}: it holds verdicts that were asked for otherwise. Move {where} away to judge anew. What differs:"
    assert flow(*judge("first")).said == [refused, '  graph.verdict.taste: "longer" → "first"']
    results = Path("s/1/results.jsonl")
    results.write_text(results.read_text(encoding="utf-8").replace("word3 two", "word3 2"), encoding="utf-8")
    assert flow(*judge("longer")).said == [refused, "  the answers: they are others than when they were judged"]
    assert read("s/judge.json")["points"][0]["wins"] == 10
    assert [one.name for one in Path("s/judge").glob(".*.new")] == []
    where.rename(project / "s" / "old")
    assert flow(*judge("first")).code == 0


def test_the_code_of_a_judge_is_part_of_it(project: Path, flow: Flow) -> None:
    sweep("3,5")
    flow(*judge("longer"))
    code = Path("stages/known.py")
    code.write_text(code.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    assert flow(*judge("longer")).said[1:] == ["  code.stages/known.py: another content"]


def test_the_judge_can_be_replayed_and_verified(project: Path, flow: Flow) -> None:
    sweep("3,5")
    flow(*judge("longer"))
    assert flow("replay", "s/judge", "--verify").out == "all 20 answers equal\n"


def test_a_report_says_what_the_judge_prefers_until_the_answers_change(project: Path, flow: Flow) -> None:
    sweep("4,6,2")
    flow(*judge("longer"))
    said = flow("report", "s").said
    mine = [line for line in said if line.startswith(("A judge", "The judge"))]
    assert mine == [
        "A judge (known, echo), of the answers beside those of the baseline: preferred: point 1 in 100%.",
        "A judge (known, echo), of the answers beside those of the baseline: baseline preferred: point 2 in 0%.",
        "The judge agrees with itself, when the answers change places, in 100% of 20 pairs; blind verdicts would by "
        "chance in 50%.",
    ]
    results = Path("s/1/results.jsonl")
    results.write_text(results.read_text(encoding="utf-8").replace("word3 two", "word3 2"), encoding="utf-8")
    said = flow("report", "s").said
    assert "judge.json: it is about other answers than these. Judge them: vllm-flow judge s" in said
    assert [line for line in said if line.startswith("A judge")] == []
    Path("s/judge.json").write_text('{"format": 7}', encoding="utf-8")
    other = f"{project / 's' / 'judge.json'}: another version wrote it. Judge again, or use that one."
    assert other in flow("report", "s").said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "DIR: 0 folders are named. Name one, that of a sweep."),
        (["s", "t"], "DIR: 2 folders are named. Name one, that of a sweep."),
        (["s", "input.text=hi"], "input.text=hi (command line): the judge reads the answers of the sweep, once. Leave this out."),
        (["s", "sweep.repeat=2"], "sweep.repeat=2 (command line): the judge reads the answers of the sweep, once. Leave this out."),
        (["s", "-m"], "-m (command line): there is no such flag. Flags: --help, --json, -h."),
        (["s", "pipeline=jugde"], f"pipeline (command line): there is no 'jugde'. Did you mean 'judge'? There are: {shipped.pipelines('known')}."),
        (
            ["s", "pipeline=dialogue", "engine=echo"],
            "output (pipelines/dialogue.yaml:10): the output of pipeline 'dialogue', reply, is a Completion and no Preference. "
            "End it as pipelines/judge.yaml does: output: verdict, made by judge/verdict.",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_with_is_refused_before_anything_is_written(
    project: Path, flow: Flow, words: list[str], said: str
) -> None:
    sweep("3,5")
    ran = flow("judge", *words)
    assert (ran.code, ran.err) == (2, f"{said}\n")
    assert not Path("s/judge").exists()


def test_what_is_no_sweep_or_has_nothing_to_compare_is_refused(project: Path, flow: Flow) -> None:
    assert main(["engine=echo", "input.text=hi", "hydra.run.dir=one"]) == 0
    here = project
    ran = flow("judge", "one")
    assert (ran.code, ran.err) == (
        1, f"vllm-flow: {here / 'one'}: there is no sweep.json in it. Name the folder of a sweep.\n",
    )  # fmt: skip
    sweep("3,5")
    (here / "s/1/run.json").unlink()
    assert flow("judge", "s").err == (
        f"vllm-flow: {here / 's'}: no point has finished beside the baseline, 0, so there is nothing to compare. "
        "Judge a sweep of two points or more.\n"
    )
    (here / "s/0/run.json").unlink()
    assert flow("judge", "s").err == (
        f"vllm-flow: {here / 's'}: the baseline, point 0, cannot be compared with: not run. "
        f"Go on with: vllm-flow resume {here / 's'}\n"
    )


def test_a_record_that_is_no_judges_is_told(project: Path, flow: Flow) -> None:
    sweep("3,5")
    flow(*judge("longer"))
    rows = lines("s/judge/results.jsonl")
    del rows[0]["reference"]
    path = project / "s/judge/results.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert flow(*judge("longer")).err == (
        f"vllm-flow: {path}: row 0 is no verdict ('reference'). Take the file as the run wrote it.\n"
    )
