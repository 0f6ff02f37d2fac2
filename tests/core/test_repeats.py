"""Repeats: which turns they are, and what is drawn for them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fakes
from vllm_flow.core.errors import ConfigError
from vllm_flow.core.messages import user
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.record import Record
from vllm_flow.core.repeats import repeated
from vllm_flow.core.runner import Runner
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import BadRow, Turn

GRAPH = {
    "context": {"use": "context/full"},
    "prompt": {"use": "fuse/chat"},
    "schedule": {"use": "schedule/sampling"},
    "reply": {"use": "infer/generate"},
    "remember": {"use": "context/update"},
}
RESOURCES = {"engine": {"use": "fake/engine"}, "store": {"use": "store/memory"}}


def spec(path: Path, repeat: int) -> RunSpec:
    given = {"use": "input/file", "path": str(path)}
    return RunSpec("test", GRAPH, "reply", RESOURCES, input=given, repeat=repeat)


def run(of: RunSpec, folder: Path) -> list[dict[str, object]]:
    async def all_of_them(runner: Runner) -> None:
        async for _ in runner.run(runner.pipeline.turns()):
            pass

    with Record(folder, of) as record:
        asyncio.run(all_of_them(Runner(of, observers=[record])))
    return [json.loads(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_conversation_that_is_called_like_a_repeat_is_refused() -> None:
    assert list(repeated([Turn("a", user("one")), Turn("a#1", user("two"), index=1)], 2)) == [
        Turn("a", user("one")),
        Turn("a#1", user("one"), sample=1, index=1),
        BadRow(2, "a#1", "with repeats the conversation 'a#1' would be one of them. Name it without '#', or run it "
               "without sweep.repeat."),
    ]  # fmt: skip
    assert list(repeated([Turn("a#1", user("two"))], 1)) == [Turn("a#1", user("two"))]


def test_each_turn_is_repeated_in_conversations_of_its_own_and_a_bad_row_stands_once() -> None:
    items = [
        Turn("a", user("one"), reference=1),
        BadRow(1, "rows.csv:3", "bad."),
        Turn("a", user("two"), number=5, index=2),
    ]
    assert list(repeated(items, 3)) == [
        Turn("a", user("one"), sample=0, index=0, reference=1),
        Turn("a#1", user("one"), sample=1, index=1, reference=1),
        Turn("a#2", user("one"), sample=2, index=2, reference=1),
        BadRow(3, "rows.csv:3", "bad."),
        Turn("a", user("two"), number=5, sample=0, index=6),
        Turn("a#1", user("two"), number=5, sample=1, index=7),
        Turn("a#2", user("two"), number=5, sample=2, index=8),
    ]
    assert list(repeated(items, 1)) == items


def test_nothing_is_read_ahead() -> None:
    def rows() -> Iterator[Turn]:
        yield Turn("a", user("one"))
        raise AssertionError("read too far")

    repeats = repeated(rows(), 2)
    assert [next(repeats).conversation, next(repeats).conversation] == ["a", "a#1"]


def test_a_conversation_is_repeated_as_a_whole_with_seeds_of_its_own(tmp_path: Path) -> None:
    fakes.fresh_log()
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"conversation": "a", "text": "one"}\n{}\n{"conversation": "a", "text": "two"}\n', encoding="utf-8"
    )
    rows = run(spec(path, 2), tmp_path / "twice")
    said = [(row["index"], row["conversation"], row["turn"], row["sample"], row["failure"] is None) for row in rows]
    assert said == [
        (0, "a", 1, 0, True),
        (1, "a#1", 1, 1, True),
        (2, f"{path}:2", None, 0, False),
        (4, "a", 2, 0, True),
        (5, "a#1", 2, 1, True),
    ]
    requests = fakes.LOG.requests
    assert len({request.seed for request in requests}) == 4
    assert sorted(len(request.prompt.messages) for request in requests) == [1, 1, 3, 3]
    fakes.fresh_log()
    once = run(spec(path, 1), tmp_path / "once")
    assert [{**row, "index": 0} for row in rows if row["sample"] == 0] == [{**row, "index": 0} for row in once]
    assert {request.seed for request in fakes.LOG.requests} < {request.seed for request in requests}


def test_a_bad_row_has_the_keys_of_every_other_and_a_reference_stands_only_where_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"conversation": "a", "text": "x", "reference": [0]}\n{\n{"conversation": "b", "text": "y"}\n',
        encoding="utf-8",
    )
    with_one, bad, plain = run(spec(path, 1), tmp_path / "run")
    assert list(plain) == list(bad) == ["index", "conversation", "turn", "sample", "message", "value", "failure"]
    assert list(with_one) == ["index", "conversation", "turn", "sample", "message", "reference", "value", "failure"]
    assert with_one["reference"] == [0]
    assert bad["failure"] == {
        "node": "",
        "kind": "InputError",
        "message": f"{path}:2: not JSON, at character 2: Expecting property name enclosed in double quotes. Write one JSON value.",
    }


def test_no_model_sees_a_reference(tmp_path: Path) -> None:
    fakes.fresh_log()
    path = tmp_path / "rows.jsonl"
    path.write_text('{"conversation": "a", "text": "x", "reference": "hidden"}\n', encoding="utf-8")
    run(spec(path, 1), tmp_path / "run")
    assert ["hidden" in repr(request) for request in fakes.LOG.requests] == [False]


def test_repeat_counts_for_the_fingerprint_only_when_there_is_one(tmp_path: Path) -> None:
    once, twice = spec(tmp_path, 1), spec(tmp_path, 2)
    assert "repeat" not in once.content()
    assert twice.content()["repeat"] == 2
    assert once.fingerprint != twice.fingerprint
    with pytest.raises(ConfigError) as caught:
        Pipeline.build(spec(tmp_path, 0))
    assert str(caught.value) == "repeat: 0 does not fit. It takes an integer of 1 or more."
