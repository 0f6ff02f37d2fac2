"""Reading records: of this format and the one before, of killed runs, and of folders that are none."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from vllm_flow.cli import main
from vllm_flow.core.errors import RecordError
from vllm_flow.core.recorded import read
from vllm_flow.core.spec import fingerprint_of
from vllm_flow.core.values import Turn

ONE = (
    '{"index": 0, "conversation": "text", "turn": 1, "sample": 0, "message": {"role": "user", "content": "hi you"}, '
    '"value": {"text": "hi you", "token_ids": [3633523372, 408736038], "finish_reason": "stop", '
    '"usage": {"prompt_tokens": 2, "completion_tokens": 2}, "logprobs": null}, "failure": null}\n'
)
CONFIG = """name: dialogue
graph:
  context: {use: context/full}
  prompt: {use: fuse/chat}
  schedule: {use: schedule/sampling}
  reply: {use: infer/generate}
  remember: {use: context/update}
output: reply
resources:
  store: {use: store/memory}
  engine: {use: engine/echo}
sampling: {max_tokens: 8}
input: {}
seed: 0
concurrency: 256
pipelines: {}
plugins: {}
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder as format 1 has it: no calls.jsonl, events without an index."""
    folder = tmp_path / "old"
    folder.mkdir()
    fingerprint = fingerprint_of(yaml.safe_load(CONFIG))
    events = [{"event": "turn started", "conversation": "text", "turn": 1}]
    events += [{"event": "context", "conversation": "text", "turn": 1, "node": "context", "messages": 0, "dropped": 0}]
    events += [{"event": "turn done", "conversation": "text", "turn": 1, "seconds": 0.1}]
    run = {"format": 1, "status": "finished", "pipeline": "dialogue", "fingerprint": fingerprint, "seed": 0}
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    (folder / "run.json").write_text(json.dumps(run), encoding="utf-8")
    (folder / "results.jsonl").write_text(ONE, encoding="utf-8")
    (folder / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events), encoding="utf-8")
    return folder


def test_a_record_of_format_1_is_shown_verified_and_compared(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = read(old)
    assert (recorded.format, recorded.has_calls, recorded.calls()) == (1, False, {})
    assert main(["replay", str(old)]) == 0
    assert capsys.readouterr().out == "hi you\n"
    assert main(["replay", str(old), "--json"]) == 0
    assert capsys.readouterr().out == ONE
    assert main(["replay", str(old), "--verify"]) == 0
    assert capsys.readouterr().out == "the answer is equal\n"
    assert main(["compare", str(old), str(old)]) == 0
    assert "outputs: all equal, 1 row" in capsys.readouterr().out


def test_of_format_1_the_token_of_the_result_is_named(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (old / "results.jsonl").write_text(ONE.replace("408736038", "5"), encoding="utf-8")
    assert main(["replay", str(old), "--verify"]) == 1
    assert capsys.readouterr().out.splitlines()[1] == "turn 1 of text: token 1 is 408736038, and was 5."


def test_a_last_line_that_was_cut_is_no_line_and_rows_come_in_input_order(old: Path) -> None:
    later = ONE.replace('"index": 0', '"index": 1')
    (old / "results.jsonl").write_text(later + ONE + ONE[:50], encoding="utf-8")
    assert [row["index"] for row in read(old).results()] == [0, 1]


def test_of_two_rows_of_one_turn_the_later_counts(old: Path) -> None:
    (old / "results.jsonl").write_text(ONE.replace("hi you", "first") + ONE, encoding="utf-8")
    assert [row["value"]["text"] for row in read(old).results()] == ["hi you"]


def turns(folder: Path) -> list[Turn]:
    recorded = read(folder)
    return [recorded.turn(row) for row in recorded.results()]


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda folder: (folder / "run.json").unlink(), "{folder}: there is no run.json in it. Give the folder of a run, or of one point of a sweep."),
        (lambda folder: (folder / "run.json").write_text("{"), "{folder}: run.json is not as it was written: Expecting property name enclosed in double quotes: line 1 column 2 (char 1). Give the folder of a run, or of one point of a sweep."),
        (lambda folder: (folder / "run.json").write_text("[]"), "{folder}: run.json is not as it was written: it is no mapping. Give the folder of a run, or of one point of a sweep."),
        (lambda folder: (folder / "run.json").write_text('{"format": 9}'), "{folder}: the record has format 9, and this version reads 1 and 2. Read it with the version that wrote it, or a later one."),
        (lambda folder: (folder / "config.yaml").unlink(), "{folder}: config.yaml cannot be read: No such file or directory. Give the folder of a run, or of one point of a sweep."),
        (lambda folder: (folder / "config.yaml").write_text("a: ["), "{folder}: config.yaml is not as it was written: while parsing a flow node. Give the folder of a run, or of one point of a sweep."),
        (lambda folder: (folder / "config.yaml").write_text("[]"), "{folder}: config.yaml is not as it was written: it is no mapping. Give the folder of a run, or of one point of a sweep."),
        (lambda folder: (folder / "config.yaml").write_text(CONFIG.replace("seed: 0", "seed: 1")), "{folder}: config.yaml is not what was run: run.json has another fingerprint. Put it back as it was; to change a value: replay --change key=value."),
        (lambda folder: (folder / "results.jsonl").write_text("nonsense\n" + ONE), "{folder}/results.jsonl:1: no JSON (Expecting value: line 1 column 1 (char 0)). Take the file as the run wrote it."),
        (lambda folder: (folder / "results.jsonl").write_text("[]\n" + ONE), "{folder}/results.jsonl:1: no mapping. Take the file as the run wrote it."),
        (lambda folder: (folder / "results.jsonl").write_text(ONE.replace('"role": "user", ', "")), "{folder}/results.jsonl: row 0 is no turn (turn.message: 'role' is missing. Add it.). Take the file as the run wrote it."),
    ],
)  # fmt: skip
def test_what_is_no_record_is_said_with_its_place(old: Path, spoil: Callable[[Path], object], problem: str) -> None:
    spoil(old)
    with pytest.raises(RecordError) as caught:
        turns(old)
    assert str(caught.value) == problem.format(folder=old)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(RecordError) as caught:
        read(tmp_path / "nowhere")
    where = f"{tmp_path / 'nowhere'}: there is no such folder."
    assert str(caught.value) == f"{where} Give the folder of a run, or of one point of a sweep."


def test_of_a_folder_above_records_the_newest_is_named(tmp_path: Path) -> None:
    for place, name in enumerate(("day/old", "day/new", "other")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "run.json").write_text("{}", encoding="utf-8")
        os.utime(tmp_path / name, (place % 2, place % 2))
    with pytest.raises(RecordError) as caught:
        read(tmp_path)
    where = f"{tmp_path}: there is no run.json in it. Give the folder of a run, or of one point of a sweep."
    assert str(caught.value) == f"{where} The newest below it: {tmp_path / 'day/new'}."


def test_a_prompt_that_goes_on_from_nothing_is_said_with_its_line(old: Path) -> None:
    run = json.loads((old / "run.json").read_text(encoding="utf-8"))
    (old / "run.json").write_text(json.dumps({**run, "format": 2}), encoding="utf-8")
    call = {"node": "reply", "prompt_ids": [1], "prompt_shared": 3, "completion": "output"}
    (old / "calls.jsonl").write_text(json.dumps({"index": 0, "conversation": "text", "calls": [call]}) + "\n")
    with pytest.raises(RecordError) as caught:
        read(old).calls()
    assert str(caught.value) == (
        f"{old / 'calls.jsonl'}:1: no row of calls (a prompt goes on from one that is not there). "
        "Take the file as the run wrote it."
    )
