"""What a record keeps of images and sounds: each once, and given back with the turns that are read from it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from vllm_flow.core.errors import RecordError
from vllm_flow.core.events import TurnDone
from vllm_flow.core.media import Audio, Image
from vllm_flow.core.media_of import Shelf
from vllm_flow.core.messages import Message, Text, assistant, user
from vllm_flow.core.record import Record
from vllm_flow.core.recorded import read
from vllm_flow.core.results import Result
from vllm_flow.core.runner import Runner
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Context, Prompt, Turn

CAT = Image("a" * 64, 3, 2, "cat.png", b"the cat")
DOG, ANT = (Image(one * 64, 3, 2, data=content) for one, content in (("c", b"the dog"), ("d", b"the ant")))
BEEP = Audio("b" * 64, 16000, 800, data=b"the beep")
GRAPH = {
    "context": {"use": "context/full"},
    "prompt": {"use": "fuse/chat"},
    "schedule": {"use": "schedule/sampling"},
    "reply": {"use": "infer/generate"},
    "remember": {"use": "context/update"},
}


def run(folder: Path) -> list[Turn]:
    resources = {"engine": {"use": "engine/echo"}, "store": {"use": "store/memory"}}
    spec = RunSpec("talk", GRAPH, "reply", resources=resources)
    turns = [
        Turn("ann", Message("user", (CAT, Text("What is it?")))),
        Turn("ann", Message("user", (CAT, BEEP, Text("And this?"))), (assistant("Well."),), index=1),
    ]

    async def answer(record: Record) -> None:
        async for result in Runner(spec, observers=[record]).run(turns):
            assert result.failure is None, result.failure

    with Record(folder, spec) as record:
        asyncio.run(answer(record))
    return turns


def test_turns_come_back_from_a_record_with_what_they_showed(tmp_path: Path) -> None:
    turns = run(tmp_path / "run")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "run" / "media").iterdir()}
    assert kept == {f"{'a' * 64}.png": b"the cat", f"{'b' * 64}.flac": b"the beep"}
    recorded = read(tmp_path / "run")
    found = [recorded.turn(row) for row in recorded.results()]
    assert [turn.message for turn in found] == [turn.message for turn in turns]
    assert [one.data for turn in found for one in turn.message.media] == [b"the cat", b"the cat", b"the beep"]
    assert "the cat" not in (tmp_path / "run" / "results.jsonl").read_text()


def test_a_value_that_shows_something_is_kept_with_it(tmp_path: Path) -> None:
    spec = RunSpec("look", {"seen": {"use": "my/looks"}}, "seen")
    with Record(tmp_path / "run", spec) as record:
        record(TurnDone(Result(Turn("ann", user("Draw."), number=1), (CAT, Prompt((user("Hear.", BEEP),)))), 0.1))
        several = [Context((user("See.", DOG),)), {"drawn": [ANT]}]
        record(TurnDone(Result(Turn("ann", user("More."), index=1, number=2), several), 0.1))
    row, _ = read(tmp_path / "run").results()
    assert [row["value"][0]["digest"], row["value"][1]["messages"][0]["parts"][0]["digest"]] == ["a" * 64, "b" * 64]
    kept = {path.name[0]: path.read_bytes() for path in (tmp_path / "run" / "media").iterdir()}
    assert kept == {"a": b"the cat", "b": b"the beep", "c": b"the dog", "d": b"the ant"}


def test_folders_share_what_one_of_them_had_before(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    Shelf().keep([CAT], tmp_path / "one" / "media")
    shelf = Shelf()
    for name in ("one", "two"):
        shelf.keep([CAT], tmp_path / name / "media")
    one, two = (tmp_path / name / "media" / f"{'a' * 64}.png" for name in ("one", "two"))
    assert one.samefile(two)
    assert one.read_bytes() == b"the cat"


def test_a_record_whose_media_are_gone_is_still_read_and_one_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    run(tmp_path / "run")
    recorded, file = read(tmp_path / "run"), tmp_path / "run" / "media" / f"{'a' * 64}.png"
    file.unlink()
    assert recorded.turn(recorded.results()[0]).message.media[0].data is None
    file.mkdir()
    with pytest.raises(RecordError) as caught:
        recorded.turn(recorded.results()[0])
    assert str(caught.value) == (
        f"{tmp_path / 'run' / 'media'}: what row 0 shows cannot be read: Is a directory. "
        "Give the folder of a run, or of one point of a sweep."
    )
