"""Going on with what was interrupted: nothing is done twice, nothing is lost, and the bytes are those of a whole run."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.cli import main
from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import RecordError
from vllm_flow.core.unfinished import Unfinished
from vllm_flow.sweep.fused import Fused

from .conftest import Watched, points, results

SLOW = '''"""Slow edits."""

import asyncio
from dataclasses import dataclass

from vllm_flow import Completion, stage


@stage("edit/slow")
@dataclass(frozen=True)
class Slow:
    """The reply, after a while."""

    seconds: float = 0.02

    async def run(self, reply: Completion) -> Completion:
        await asyncio.sleep(self.seconds)
        return reply
'''
PIPELINE = """# @package _global_
# Slow.
defaults: [dialogue, _self_]
graph:
  slow: {use: edit/slow}
output: slow
"""
WORDS = ["pipeline=slow", "engine=echo", "input.path=rows.jsonl", "concurrency=4", "context=full"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_registry: None) -> Path:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stages").mkdir()
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "stages/slow.py").write_text(SLOW, encoding="utf-8")
    (tmp_path / "pipelines/slow.yaml").write_text(PIPELINE, encoding="utf-8")
    said = [{"conversation": f"c{place}", "text": f"turn {number}"} for number in range(5) for place in range(6)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in said), encoding="utf-8")
    return tmp_path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("kills", [2, pytest.param(50, marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", ["sweep", "data set"])
def test_what_is_killed_again_and_again_ends_as_what_was_not(project: Path, kind: str, kills: int) -> None:
    """At any moment, of a run that has been gone on with as well."""
    chance = random.Random(kills)
    words, key = ["-m", *WORDS, "sampling.temperature=0.1,0.5"], "hydra.sweep.dir"
    if kind == "data set":
        cells = [f"c{number},{number}" for number in range(30)]
        (project / "rows.csv").write_text("\n".join(["who,number", *cells[:9], "short", *cells[9:]]), encoding="utf-8")
        words = [*WORDS, "input.path=rows.csv", "input.text=Turn {number}?", "input.id=who"]
        key = "hydra.run.dir"
    words.append("graph.slow.seconds=0.05")
    code = main([*words, f"{key}=whole"])
    assert code == (kind == "data set"), "one of its rows is bad"
    for kill in range(kills):
        begun = project / f"killed-{kill}"
        killed([*words, f"{key}={begun}"], begun, chance)
        if kill % 2:
            killed(["resume", str(begun)], begun, chance)
        assert main(["resume", str(begun)]) in (code, 0)  # 0 where nothing was left
        for path in begun.glob("**/events.jsonl"):
            done = [row for row in rows(path) if row["event"] == "turn done"]
            assert len(done) == len({(row["conversation"], row["turn"]) for row in done}), "none is done twice"
        assert unchanged(begun, project / "whole")
        assert not list(begun.glob("**/.*.new")), "nothing half written is left"
        shutil.rmtree(begun)


def killed(words: list[str], folder: Path, chance: random.Random) -> None:
    """Run a command, and kill it some time after its first record is there."""
    with subprocess.Popen(
        [sys.executable, "-m", "vllm_flow", *words], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as run:
        while not list(folder.glob("**/run.json")):
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.3) + ("resume" in words) * chance.uniform(0, 0.5))
        run.send_signal(signal.SIGKILL)


def unchanged(folder: Path, whole: Path) -> bool:
    found = {path.relative_to(folder): path.read_bytes() for path in folder.glob("**/results.jsonl")}
    return found == {path.relative_to(whole): path.read_bytes() for path in whole.glob("**/results.jsonl")}


def test_nothing_is_left_of_what_has_finished(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "hydra.run.dir=one"]) == 0
    capsys.readouterr()
    assert main(["resume", "one"]) == 0
    assert capsys.readouterr().err == "one: nothing is left to do.\n"


def interrupted(project: Path, folder: str, keep: int) -> None:
    """A run of which only the first results are there, and half a line."""
    assert main([*WORDS, "graph.slow.seconds=0", f"hydra.run.dir={folder}"]) == 0
    for name in ("results", "commits"):
        path = project / folder / f"{name}.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[:keep]) + lines[keep][:20], encoding="utf-8")
    run = json.loads((project / folder / "run.json").read_text())
    (project / folder / "run.json").write_text(json.dumps({**run, "status": "running"}), encoding="utf-8")


def test_a_single_run_goes_on_after_half_a_line(project: Path) -> None:
    assert main([*WORDS, "graph.slow.seconds=0", "hydra.run.dir=whole"]) == 0
    interrupted(project, "cut", 13)
    assert main(["resume", "cut"]) == 0
    assert results(project / "cut") == results(project / "whole")
    run = json.loads((project / "cut/run.json").read_text())
    assert (run["status"], run["turns"]["answered"], len(run["resumed"])) == ("finished", 30, 1)
    assert run["started"] < run["resumed"][0]["at"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("code", "code.stages/slow.py: another content"),
        ("pipeline", "graph.slow.seconds: (nothing) → 0.5"),
        ("gone", "the configuration is no longer sound: pipeline (command line): there is no 'slow'."),
    ],
)
def test_it_is_refused_when_what_would_go_on_is_not_what_began(
    project: Path, capsys: pytest.CaptureFixture[str], change: str, told: str
) -> None:
    assert main([*WORDS, "hydra.run.dir=cut"]) == 0
    run = json.loads((project / "cut/run.json").read_text())
    (project / "cut/run.json").write_text(json.dumps({**run, "status": "running"}), encoding="utf-8")
    pipeline = project / "pipelines/slow.yaml"
    if change == "code":
        (project / "stages/slow.py").write_text(SLOW + "\n", encoding="utf-8")
    elif change == "pipeline":
        pipeline.write_text(PIPELINE.replace("edit/slow}", "edit/slow, seconds: 0.5}"), encoding="utf-8")
    else:
        pipeline.unlink()
    capsys.readouterr()
    assert main(["resume", "cut"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"vllm-flow: {project / 'cut'}: this is not what began:"
    assert said[1].strip().startswith(told)
    assert said[-1] == "Restore it, begin another run, or go on all the same with --force."
    if change != "gone":
        assert main(["resume", "cut", "--force"]) == 0


def test_failed_turns_are_answered_again_only_when_asked_and_nothing_was_built_on_them(
    project: Path, tmp_path: Path
) -> None:
    path = tmp_path / "some.jsonl"
    good, bad = {"id": "good", "messages": [{"role": "user", "content": "hi"}]}, '{"id": "bad", "messages": []}\n'
    path.write_text(json.dumps(good) + "\n" + bad, encoding="utf-8")
    words = ["engine=echo", f"input.path={path}", "hydra.run.dir=some"]
    assert main(words) == 1
    assert [row["failure"] is None for row in rows(tmp_path / "some/results.jsonl")] == [True, False]
    assert main(["resume", "some"]) == 0
    path.write_text(json.dumps(good) + "\n" + json.dumps({**good, "id": "bad"}) + "\n", encoding="utf-8")
    assert main(["resume", "some", "--retry-errors"]) == 0
    assert [row["failure"] is None for row in rows(tmp_path / "some/results.jsonl")] == [True, True]


def test_a_failure_that_later_turns_were_built_on_stays(tmp_path: Path) -> None:
    kept = [("a", 0, False), ("a", 1, True), ("b", 2, True), ("a", 3, False)]
    asked = {"sample": 0, "message": {"role": "user", "content": "x"}}
    lines = [
        json.dumps({"index": n, "conversation": c, "failure": "no" if bad else None, **asked}) for c, n, bad in kept
    ]
    (tmp_path / "results.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "config.yaml").write_text("", encoding="utf-8")
    found = Unfinished.read(tmp_path, retry_errors=True)
    assert found is not None
    assert (set(found.done), found.failed) == ({0, 1, 3}, 1)


def test_a_point_that_never_began_is_begun(project: Path, tmp_path: Path) -> None:
    (point,) = points(tmp_path / "never", WORDS, resume=True)
    with Engines() as engines:
        (done,) = Fused(engines, Watched()).run([point])
    assert (done.status, done.answered) == ("finished", 30)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["resume"], "DIR: 0 folders are named. Name one, that of a run or a sweep."),
        (["resume", "a", "b"], "DIR: 2 folders are named. Name one, that of a run or a sweep."),
        (["resume", "a", "--retry"], "--retry (command line): there is no such flag. Did you mean '--retry-errors'? Flags: "
         "--fail-fast, --force, --help, --json, --retry-errors, -h."),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_told(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err == f"{told}\n"


def test_of_a_folder_above_the_records_the_newest_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine=echo", "input.text=hi", "hydra.run.dir=outputs/runs/day/one"]) == 0
    assert main(["-m", "engine=echo", "input.text=hi", "seed=1,2", "hydra.sweep.dir=outputs/sweeps/day/many"]) == 0
    capsys.readouterr()
    for words in (["resume", "outputs"], ["report", "outputs"]):
        assert main(words) == 1
        assert capsys.readouterr().err == (
            f"vllm-flow: {project / 'outputs'}: there is no run.json or sweep.json in it. Name the folder of a run or a "
            f"sweep. The newest below it: {project / 'outputs/sweeps/day/many'}.\n"
        )


def test_a_folder_that_is_no_record_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(tmp_path)]) == 1
    assert capsys.readouterr().err == (
        f"vllm-flow: {tmp_path}: there is no run.json or sweep.json in it. Name the folder of a run or a sweep.\n"
    )
    assert main(["resume", str(tmp_path / "nope")]) == 1
    told = f"vllm-flow: {tmp_path / 'nope'}: there is no such folder. Name the folder of a run or a sweep.\n"
    assert capsys.readouterr().err == told
    (tmp_path / "sweep.json").write_text("{", encoding="utf-8")
    assert main(["resume", str(tmp_path)]) == 1
    assert f"vllm-flow: {tmp_path / 'sweep.json'}: it cannot be read" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text("", encoding="utf-8")
    (tmp_path / "results.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(RecordError, match="it cannot be gone on with"):
        Unfinished.read(tmp_path)


def test_after_points_that_failed_the_next_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["-m", "engine=echo", "input.path=late.jsonl", "seed=1,2", "hydra.sweep.dir=sweep"]
    assert main(words) == 1
    assert "Next: vllm-flow resume sweep\n" in capsys.readouterr().err
    (tmp_path / "late.jsonl").write_text('{"conversation": "a", "text": "hi"}\n', encoding="utf-8")
    assert main(["resume", "sweep"]) == 0
    assert capsys.readouterr().err.endswith("Next: vllm-flow report sweep\n")
    assert [results(tmp_path / "sweep" / place).count(b"\n") for place in "01"] == [1, 1]
