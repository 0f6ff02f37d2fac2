"""What a turn asked and was told: one row of calls.jsonl, short as it is written and whole as it is read."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from vllm_flow.core.calls import digest, in_force_row
from vllm_flow.core.calls_kept import CONVERSATIONS, Lengthening, Shortening, shared
from vllm_flow.core.heard import moment_from_json, moment_to_json
from vllm_flow.core.messages import user
from vllm_flow.core.record import Record
from vllm_flow.core.recorded import read
from vllm_flow.core.results import Result
from vllm_flow.core.runner import Runner
from vllm_flow.core.schedule import Course
from vllm_flow.core.seeds import derive_seed
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Completion, Context, InForce, Prompt, Token, Turn, Usage
from vllm_flow.engines.echo import pieces, token_id
from vllm_flow.testing import schedule

GRAPH = {
    "context": {"use": "context/full"},
    "prompt": {"use": "fuse/chat"},
    "schedule": {"use": "schedule/sampling"},
    "candidates": {"use": "infer/sample"},
    "reply": {"use": "select/vote"},
    "remember": {"use": "context/update"},
}
RESOURCES = {"engine": {"use": "engine/echo"}, "store": {"use": "store/memory"}}


def recorded(folder: Path, *texts: str, **sampling: Any) -> list[dict[str, Any]]:
    """The rows as they are written, of one conversation."""
    spec = RunSpec("t", GRAPH, "reply", resources=RESOURCES, sampling=sampling, seed=5)

    async def run(record: Record) -> None:
        async for _ in Runner(spec, observers=[record]).run(
            Turn("a", user(text), index=place) for place, text in enumerate(texts)
        ):
            pass

    with Record(folder, spec) as record:
        asyncio.run(run(record))
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_request_is_recorded_with_its_seed_its_values_in_force_and_its_prompt_as_ids(tmp_path: Path) -> None:
    (row,) = recorded(tmp_path, "one two", n=2, temperature=0.5, stop=["!"])
    assert (row["index"], row["conversation"], row["turn"]) == (0, "a", 1)
    first, second = row["calls"]
    ids = [token_id(piece) for piece in pieces("one two")]
    assert first == {
        "node": "candidates", "resource": "engine", "method": "generate", "sample": 0,
        "seed": derive_seed(5, "a", 1, "candidates", 0), "live": False,
        "sampling": [[0, {"temperature": 0.5, "stop": ["!"], "n": 2}]],
        "prompt_ids": ids, "prompt_shared": 0, "completion": "output",
        "ledger": {"tokens": 2, "entries": [{"segment": "question", "tokens": 2}]},
    }  # fmt: skip
    assert (second["sample"], second["prompt_ids"], second["prompt_shared"]) == (1, [], 2)
    assert second["seed"] == derive_seed(5, "a", 1, "candidates", 1)


def test_a_prompt_is_written_from_where_it_is_new_and_read_whole(tmp_path: Path) -> None:
    first, second, third = recorded(tmp_path, "one", "two three", "four")
    assert [row["calls"][0]["prompt_shared"] for row in (first, second, third)] == [0, 1, 4]
    assert [len(row["calls"][0]["prompt_ids"]) for row in (first, second, third)] == [1, 3, 3]
    said = ["one", "one", "two", " three", "two", " three", "four"]
    (call,) = read(tmp_path).calls()[2]["calls"]
    assert call["prompt_ids"] == [token_id(piece) for piece in said]
    assert call["completion"]["text"] == "four"


def test_every_value_of_the_graph_has_a_digest_and_equal_values_have_equal_ones(tmp_path: Path) -> None:
    one, other, third = recorded(tmp_path, "x", "y", "x")
    assert set(one["values"]) == set(GRAPH)
    assert one["values"]["schedule"] == other["values"]["schedule"]
    assert one["values"]["prompt"] != third["values"]["prompt"]
    assert recorded(tmp_path / "again", "x", "y", "x") == [one, other, third]


def test_a_digest_is_the_same_in_any_process_and_none_for_what_is_no_data() -> None:
    assert digest(Prompt((user("hi"),))) == "573bc87f9a9642f1"
    assert digest(Context(state={"a": 1})) != digest(Context(state={"a": 1.0}))
    assert digest(object()) is None
    assert digest({1: math.inf}) is not None

    @dataclass
    class Odd:
        inner: object

    assert digest(Odd(object())) is None


def test_what_is_in_force_is_written_once_and_what_moves_token_by_token() -> None:
    biased = schedule(logit_bias={3: 1.5}, stop=("!",))
    assert in_force_row(biased, []) == {"sampling": [(0, {"logit_bias": {"3": 1.5}, "stop": ["!"]})]}
    falling = schedule(temperature={"linear": {"from": 2.0, "to": 1.0, "over": 2}}, top_p=0.5)
    course, tokens = Course(falling), []
    for index in range(3):
        course.next(index)
        tokens.append(Token(index, "a", moved=InForce(course.values)))
    row = in_force_row(falling, tokens)
    assert row == {"sampling": [(0, {"top_p": 0.5})], "moving": {"temperature": [2.0, 1.5, 1.0]}}
    heard = [Token(0, "a", moved=InForce({"temperature": 1.0}, {"entropy": place / 2})) for place in range(2)]
    assert in_force_row(falling, heard)["signals"] == {"entropy": [0.0, 0.5]}


def test_rows_are_shortened_and_made_whole_whatever_conversations_come_between() -> None:
    shorten, lengthen = Shortening(), Lengthening()
    rows = []
    for turn in range(3):
        for place in range(CONVERSATIONS + 5):
            ids = tuple(range(place, place + 4 * (turn + 1)))
            call = {"node": "reply", "method": "generate", "prompt_ids": ids, "completion": None}
            rows.append({"conversation": f"c{place}", "calls": [call]})
    short = [shorten(row, None) for row in rows]
    assert sum(len(row["calls"][0]["prompt_ids"]) for row in short) <= sum(
        len(row["calls"][0]["prompt_ids"]) for row in rows
    )
    assert [lengthen(json.loads(json.dumps(row)), None) for row in short] == json.loads(json.dumps(rows))


def test_an_answer_that_is_the_output_stands_in_the_result_alone() -> None:
    said = {
        "text": "hi",
        "token_ids": (1, 2),
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
    }
    row = {"conversation": "a", "calls": [{"node": "reply", "completion": said}]}
    reply = Completion("hi", (1, 2), "stop", Usage(1, 2))
    turn = Turn("a", user("x"), number=1)
    assert Shortening()(row, Result(turn, reply))["calls"][0]["completion"] == "output"
    other = Completion("ho", (1, 2), "stop", Usage(1, 2))
    assert Shortening()(row, Result(turn, other))["calls"][0]["completion"] == said


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [((), (1,), 0), ((1, 2), (1, 2, 3), 2), ((1, 2, 3), (1, 9, 3), 1), ((1,) * 999 + (2,), (1,) * 999 + (3,), 999), ((5,), (6,), 0)],
)  # fmt: skip
def test_how_far_two_lists_are_alike(one: tuple[int, ...], other: tuple[int, ...], same: int) -> None:
    assert shared(one, other) == shared(other, one) == same


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 24, 9, 30, 0, 123456, ZoneInfo("Asia/Shanghai")),
        datetime(2026, 7, 1, 9, 30, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
        datetime(2026, 11, 24, 9, 30, tzinfo=timezone(timedelta(hours=8), "CST")),
        datetime(2026, 11, 24, 9, 30, tzinfo=UTC),
    ],
)
def test_a_moment_is_told_again_with_its_zone(moment: datetime) -> None:
    again = moment_from_json(json.loads(json.dumps(moment_to_json(moment))))
    assert again == moment
    assert again.strftime("%c %Z %z") == moment.strftime("%c %Z %z")
