"""The record: what is in the folder, in which order, and what a full disk does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from vllm_flow.core.errors import RecordError
from vllm_flow.core.events import Inferred, TurnDone, TurnStarted
from vllm_flow.core.files import new_folder
from vllm_flow.core.messages import user
from vllm_flow.core.record import Record
from vllm_flow.core.results import Failure, Result
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Completion, Turn, Usage

SPEC = RunSpec(
    "dialogue", {"reply": {"use": "infer/generate"}}, "reply", resources={"engine": {"token": "${secret:A}"}}
)


def result(index: int, failure: bool = False) -> Result:
    turn = Turn(f"c{index}", user(f"text {index} é"), number=1, index=index)
    if failure:
        return Result(turn, failure=Failure("reply", "EngineError", "refused. Ask again."))
    return Result(turn, Completion("ok", (1, 2), "stop", Usage(3, 2)))


def write(folder: Path, *results: Result) -> Record:
    record = Record(folder, SPEC)
    for one in results:
        record(TurnStarted(one.turn))
        record(TurnDone(one, 0.5))
    return record


def test_results_stand_in_input_order_whatever_the_order_of_their_ends(tmp_path: Path) -> None:
    write(tmp_path / "a", result(2), result(0, failure=True), result(1)).finish("finished")
    write(tmp_path / "b", result(0, failure=True), result(1), result(2)).finish("finished")
    texts = [(tmp_path / name / "results.jsonl").read_bytes() for name in "ab"]
    assert texts[0] == texts[1]
    assert [json.loads(line)["index"] for line in texts[0].splitlines()] == [0, 1, 2]


@pytest.mark.parametrize("name", ["run.json", "config.yaml"])
def test_nothing_that_is_there_is_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")
    with pytest.raises(RecordError) as caught:
        Record(tmp_path, SPEC)
    assert str(caught.value) == (
        f"{tmp_path}: there is a {name} in it already. Choose another folder: hydra.run.dir, or record=… in Python."
    )
    assert [(one.name, one.read_text(encoding="utf-8")) for one in tmp_path.iterdir()] == [(name, "mine")]


def test_putting_results_in_order_takes_little_memory(tmp_path: Path) -> None:
    record = Record(tmp_path, SPEC)
    for index in reversed(range(400)):
        reply = Completion("x" * 20_000, (1,), "stop", Usage(3, 1))
        record(TurnDone(Result(Turn(f"c{index}", user("x"), number=1, index=index), reply), 0.5))
    tracemalloc.start()
    record.finish("finished")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    with (tmp_path / "results.jsonl").open(encoding="utf-8") as file:
        assert [json.loads(line)["index"] for line in file] == list(range(400))
    assert (tmp_path / "results.jsonl").stat().st_size > 8_000_000
    assert most < 1_000_000


def test_a_tenant_stands_in_the_results_only_where_there_is_one(tmp_path: Path) -> None:
    whose = replace(result(1), turn=replace(result(1).turn, tenant="ann"))
    write(tmp_path, result(0), whose).finish("finished")
    plain, of_ann = (json.loads(line) for line in (tmp_path / "results.jsonl").read_text("utf-8").splitlines())
    assert list(plain) == ["index", "conversation", "turn", "sample", "message", "value", "failure"]
    assert of_ann == plain | {"index": 1, "conversation": "c1", "tenant": "ann", "message": of_ann["message"]}


def test_a_run_that_goes_on_is_readable_and_says_so(tmp_path: Path) -> None:
    record = write(tmp_path, result(0))
    assert json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))["status"] == "running"
    assert json.loads((tmp_path / "results.jsonl").read_text(encoding="utf-8"))["value"]["text"] == "ok"
    record.finish("finished")


def test_the_end_says_status_counts_and_error(tmp_path: Path) -> None:
    write(tmp_path, result(0), result(1, failure=True)).finish("failed", "it broke")
    run = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert (run["status"], run["error"], run["pipeline"], run["fingerprint"]) == (
        "failed",
        "it broke",
        "dialogue",
        SPEC.fingerprint,
    )
    assert run["turns"] == {"answered": 1, "failed": 1, "stored": 0}
    assert {"python", "vllm-flow", "torch", "hydra-core"} <= set(run["versions"])


def test_timings_give_the_rate_of_the_tokens_after_the_first(tmp_path: Path) -> None:
    record = Record(tmp_path, SPEC)
    record(Inferred(result(0).turn, "reply", 0, "stop", Usage(3, 11), 0, 1.0, 3.0, reuse_stopped_at=2))
    record.finish("finished")
    row = json.loads((tmp_path / "timings.jsonl").read_text(encoding="utf-8"))
    assert (row["ttft_s"], row["seconds"], row["tokens_per_s"]) == (1.0, 3.0, 5.0)
    assert (row["prompt_tokens"], row["cached_tokens"], row["reuse_stopped_at"]) == (3, 0, 2)


def test_a_secret_stays_a_reference(tmp_path: Path) -> None:
    Record(tmp_path, SPEC).finish("finished")
    assert "${secret:A}" in (tmp_path / "config.yaml").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecordError) as caught:
        Record(tmp_path / "file" / "run", SPEC)
    assert str(caught.value) == (
        f"{tmp_path / 'file' / 'run'}: the record cannot be written: Not a directory. "
        "Free space, or choose another folder: hydra.run.dir, or record=… in Python."
    )


@pytest.mark.skipif(os.name != "posix", reason="the limit on a file's size is POSIX's")
def test_a_full_disk_ends_the_run_with_one_line_and_keeps_what_was_written(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"conversation": f"c{i}", "text": "word " * 100}) + "\n" for i in range(400))
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    code = (
        "import resource, signal, sys\nfrom vllm_flow.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000))\n"
        "sys.exit(main(['engine=echo', 'input.path=rows.jsonl']))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1].endswith(
        "File too large. Free space, or choose another folder: hydra.run.dir, or record=… in Python."
    )
    assert "Traceback" not in said.stderr
    (results,) = tmp_path.glob("outputs/runs/*/*/results.jsonl")
    whole = results.read_text(encoding="utf-8").splitlines()[:-1]
    assert len([json.loads(line) for line in whole]) > 10


def test_folders_of_one_second_differ(tmp_path: Path) -> None:
    assert len({new_folder(tmp_path, "dialogue") for _ in range(50)}) == 50
