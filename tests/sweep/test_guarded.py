"""What must not happen to a record: to be written by two, over another, or on from another input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import vllm_flow
from vllm_flow.cli import main
from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import ConfigError, RecordError
from vllm_flow.core.record import Record
from vllm_flow.core.spec import RunSpec
from vllm_flow.sweep.fused import Fused
from vllm_flow.sweep.index import Index
from vllm_flow.sweep.points import Point

from .conftest import TINY, Watched
from .test_fused import fake_spec

Captured = pytest.CaptureFixture[str]
ECHO = ["engine=echo", "input.path=rows.jsonl"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("VLLM_FLOW_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, *(f"q{place}" for place in range(6)))
    return tmp_path


def write_rows(folder: Path, *texts: str) -> None:
    rows = ({"id": text, "messages": [{"role": "user", "content": text}]} for text in texts)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def cut(folder: Path, keep: int) -> None:
    """As a kill leaves a run after so many results."""
    path = folder / "results.jsonl"
    path.write_text("".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[:keep]), encoding="utf-8")
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    (folder / "run.json").write_text(json.dumps({**run, "status": "running"}), encoding="utf-8")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_refused_run_leaves_the_record_that_is_there_as_it_was(here: Path, capsys: Captured) -> None:
    assert main([*ECHO, "hydra.run.dir=x", "seed=1"]) == 0
    before = contents(here / "x")
    assert main([*ECHO, "hydra.run.dir=x", "seed=2"]) == 1
    assert "x: there is a run.json in it already. Choose another folder" in capsys.readouterr().err
    assert contents(here / "x") == before


def test_a_second_sweep_is_not_written_over_the_first(here: Path, capsys: Captured) -> None:
    assert main(["-m", *ECHO, "hydra.sweep.dir=s", "seed=1,2"]) == 0
    before = contents(here / "s")
    assert main(["-m", *ECHO, "hydra.sweep.dir=s", "seed=3,4,5"]) == 1
    said = capsys.readouterr().err
    assert f"{here / 's'}: there is a sweep in it already. `vllm-flow resume {here / 's'}` goes on with it" in said
    assert contents(here / "s") == before
    (here / "s/sweep.json").unlink()
    assert main(["-m", *ECHO, "hydra.sweep.dir=s", "seed=3,4"]) == 1
    assert "0: there is a run.json in it already" in capsys.readouterr().err


def test_points_of_one_folder_are_refused_and_references_to_hydra_name_many(here: Path, capsys: Captured) -> None:
    assert main(["-m", *ECHO, "hydra.sweep.dir=s", "hydra.sweep.subdir=x", "seed=1,2"]) == 2
    assert capsys.readouterr().err == (
        "hydra.sweep.subdir: points 0 and 1 would have one folder. Put ${hydra.job.num} into it.\n"
    )
    assert not (here / "s").exists()
    assert main(["-m", *ECHO, "hydra.sweep.dir=s", "hydra.sweep.subdir=p${hydra:job.num}", "seed=1,2"]) == 0
    assert sorted(path.parent.name for path in (here / "s").glob("*/run.json")) == ["p0", "p1"]


def test_the_folder_of_a_sweep_is_named_though_its_points_lie_deeper(here: Path, capsys: Captured) -> None:
    where = "hydra.sweep.dir=a sweep"
    assert main(["-m", *ECHO, where, "hydra.sweep.subdir=a/b/${hydra.job.num}", "seed=1,2"]) == 0
    said = capsys.readouterr().err
    assert "2 points: a sweep\n" in said
    assert "Next: vllm-flow report 'a sweep'\n" in said


@pytest.mark.parametrize("change", ["first", "middle", "shorter"])
def test_another_input_is_refused_and_nothing_is_lost(here: Path, capsys: Captured, change: str) -> None:
    assert main([*ECHO, "hydra.run.dir=x"]) == 0
    cut(here / "x", 3)
    new = {"first": ["new", "q0", "q1", "q2"], "middle": ["q0", "other", "q2"], "shorter": ["q0", "q1"]}[change]
    write_rows(here, *new, *(() if change == "shorter" else ("q3", "q4", "q5")))
    capsys.readouterr()
    assert main(["resume", "x"]) == 1
    problem = {
        "first": "row 1 of the input, new, is not what has been answered in its place",
        "middle": "row 2 of the input, other, is not what has been answered in its place",
        "shorter": "the input ends after 2 rows, and row 3 has been answered",
    }[change]
    right = "Give it the input that it began with, or begin another run."
    assert f"vllm-flow: {here / 'x'}: {problem}. {right}\n" in capsys.readouterr().err
    write_rows(here, *(f"q{place}" for place in range(6)))
    assert main(["resume", "x"]) == 0
    assert [row["value"]["text"] for row in rows(here / "x/results.jsonl")] == [f"q{place}" for place in range(6)]


def test_a_record_is_written_by_one_process_at_a_time(here: Path, capsys: Captured) -> None:
    words = ["engine=echo", "input=stdin", "hydra.run.dir=x"]
    command = [sys.executable, "-m", "vllm_flow", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as run:
        while not (here / "x/run.json").exists() or "resources" not in (here / "x/run.json").read_text("utf-8"):
            time.sleep(0.05)  # it has opened what it needs, and now waits for its input
        before = contents(here / "x")
        assert main(["resume", "x", "--force"]) == 1
        assert "x: another process is writing into it. Wait until that has ended" in capsys.readouterr().err
        after = contents(here / "x")
        assert b"another process is writing into it" in after.pop("vllm-flow.log")
        assert after == before
        run.send_signal(signal.SIGKILL)
    Record(here / "x", RunSpec("a", {}, "a"), resume=True).end(KeyboardInterrupt())


def test_a_sweep_is_run_by_one_process_at_a_time(tmp_path: Path) -> None:
    index = Index.of(tmp_path, [Point(tmp_path / "0", (), fake_spec())])
    with index, pytest.raises(RecordError, match="another process is writing into it"), Index.read(tmp_path):
        pass
    with Index.read(tmp_path):
        assert json.loads((tmp_path / "sweep.json").read_text())["status"] == "running"


def test_a_retry_that_cannot_begin_takes_no_failure_away(tmp_path: Path) -> None:
    point = Point(tmp_path / "0", (), fake_spec(text="fail"))
    with Engines() as engines:
        Fused(engines, Watched()).run([point])
    before = contents(tmp_path / "0")
    again = Point(tmp_path / "0", (), fake_spec(text="fail", fails_to_open=True), True, True)
    with Engines() as engines:
        (done,) = Fused(engines, Watched()).run([again])
    assert done.status == "failed"
    assert contents(tmp_path / "0") == before


def test_of_a_turn_that_was_retried_the_later_row_stays(here: Path) -> None:
    (here / "rows.jsonl").write_text('{"id": "a", "messages": []}\n', encoding="utf-8")
    assert main([*ECHO, "hydra.run.dir=x"]) == 1
    write_rows(here, "a")
    assert main(["resume", "x", "--retry-errors"]) == 0
    (row,) = rows(here / "x/results.jsonl")
    assert (row["failure"], row["value"]["text"]) == (None, "a")


def test_a_turn_keeps_its_own_number_though_another_had_taken_none(tmp_path: Path) -> None:
    """A turn that fails before the store begins it leaves its number to the next."""
    with Record(tmp_path, RunSpec("a", {}, "a")):
        pass
    events = [
        {"event": "turn started", "index": index, "conversation": "c", "turn": turn}
        for index, turn in ((0, 1), (1, 1), (2, 2))
    ]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events), encoding="utf-8")
    record = Record(tmp_path, RunSpec("a", {}, "a"), resume=True)
    assert record.unfinished is not None
    assert record.unfinished.numbers == {0: 1, 1: 1, 2: 2}
    record.end(None)


def test_what_was_served_from_a_store_is_counted_through_an_interruption(here: Path) -> None:
    lines = '{"conversation": "c", "text": "a", "turn": 1}\n{"conversation": "c", "text": "b", "turn": 2}\n'
    (here / "rows.jsonl").write_text(lines, encoding="utf-8")
    words = [*ECHO, "store=sqlite", "store.path=s.db"]
    assert main([*words, "hydra.run.dir=first"]) == 0
    assert main([*words, "hydra.run.dir=x"]) == 0
    cut(here / "x", 1)
    assert main(["resume", "x"]) == 0
    assert json.loads((here / "x/run.json").read_text())["turns"] == {"answered": 2, "failed": 0, "stored": 2}


def test_what_was_another_before_is_kept_when_a_run_goes_on_by_force(here: Path) -> None:
    assert main([*ECHO, "hydra.run.dir=x"]) == 0
    cut(here / "x", 3)
    run = json.loads((here / "x/run.json").read_text())
    run["versions"]["torch"] = "0.1"
    (here / "x/run.json").write_text(json.dumps(run), encoding="utf-8")
    assert main(["resume", "x"]) == 2
    assert main(["resume", "x", "--force"]) == 0
    (entry,) = json.loads((here / "x/run.json").read_text())["resumed"]
    assert entry["before"]["versions"]["torch"] == "0.1"


def test_a_record_whose_configuration_was_edited_is_not_gone_on_with(here: Path, capsys: Captured) -> None:
    assert main([*ECHO, "hydra.run.dir=x"]) == 0
    cut(here / "x", 3)
    config = here / "x/config.yaml"
    config.write_text(config.read_text().replace("seed: 0", "seed: 77"), encoding="utf-8")
    assert main(["resume", "x", "--force"]) == 1
    assert "config.yaml is not what was run: run.json has another fingerprint" in capsys.readouterr().err


@pytest.mark.parametrize("how", [["hydra.sweeper.max_batch_size=1"], ["hydra.job.chdir=true"]])
def test_fail_fast_stops_across_batches_and_launchers(here: Path, how: list[str]) -> None:
    (here / "rows.jsonl").write_text('{"id": "a", "messages": []}\n', encoding="utf-8")
    rows_at = f"input.path={here / 'rows.jsonl'}"
    assert main(["-m", "engine=echo", rows_at, "seed=1,2,3", "--fail-fast", f"hydra.sweep.dir={here / 's'}", *how]) == 1
    assert sorted(path.parent.name for path in (here / "s").glob("*/run.json")) == ["0"]
    assert json.loads((here / "s/sweep.json").read_text())["fail_fast"]


def test_all_points_together_keep_within_the_concurrency(tmp_path: Path) -> None:
    from tests import fakes

    fakes.fresh_log()
    specs = [RunSpec(**{**fake_spec(delay_s=0.01).content(), "concurrency": 2, "seed": n}) for n in range(12)]
    with Engines() as engines:
        done = Fused(engines, Watched()).run([Point(tmp_path / str(n), (), one) for n, one in enumerate(specs)])
    assert {one.status for one in done} == {"finished"}
    assert fakes.LOG.most_in_flight == 2


def test_a_sweep_from_a_thread_runs_and_sigterm_means_what_it_meant(here: Path) -> None:
    def own(number: int, frame: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGTERM, own)
    try:
        words = [*ECHO, "seed=1,2"]
        found: list[str] = []
        thread = threading.Thread(
            target=lambda: found.extend(one.status for one in vllm_flow.run_sweep(overrides=words))
        )
        thread.start()
        thread.join()
        assert found == ["finished", "finished"]
        vllm_flow.run_sweep(overrides=words)
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_faults_of_points_in_one_folder_stand_beside_other_faults(here: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        vllm_flow.run_sweep(overrides=[*ECHO, "seed=1,2", "hydra.sweep.subdir=x", "sampling.temperature=-1"])
    assert [fault.path for fault in caught.value.faults] == ["sampling.temperature", "hydra.sweep.subdir"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["hydra.run.dir=${nope}"], "hydra.run.dir: Interpolation key 'nope' not found."),
        (["hydra.run.dir=''"], "hydra.run.dir: it is empty."),
        (["-m", "seed=1,2", "hydra.sweep.dir=${nope}"], "hydra.sweep.dir: Interpolation key 'nope' not found."),
        (["-m", "seed=1,2", "hydra.sweep.subdir=${nope}"], "hydra.sweep.subdir: Interpolation key 'nope' not found."),
    ],
)
def test_a_folder_that_cannot_be_told_is_a_fault(here: Path, capsys: Captured, words: list[str], told: str) -> None:
    assert main([*ECHO, *words]) == 2
    assert capsys.readouterr().err == f"{told} Write a path; it may refer to keys, as ${{seed}} does.\n"
    assert sorted(path.name for path in here.iterdir()) == ["rows.jsonl"]


def test_a_sweep_of_an_engine_that_promises_nothing_says_so_once(here: Path, capsys: Captured) -> None:
    words = [*TINY, "input.path=rows.jsonl", "input.limit=1", "sampling.temperature=0.5,1"]
    said = (
        "engine is not deterministic: its numbers may depend on what else is in flight. A point that is run alone may "
        "give other answers.\n"
    )
    assert main(["-m", *words, "engine.deterministic=false"]) == 0
    assert capsys.readouterr().err.count(said) == 1
    assert main(["-m", *words]) == 0
    assert "deterministic" not in capsys.readouterr().err
