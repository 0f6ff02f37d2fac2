"""Images and sounds of inputs: beside a text, in parts of rows, and in columns."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile
from PIL import Image

from vllm_flow.core.errors import InputError
from vllm_flow.core.gate import Gate
from vllm_flow.core.messages import Text as Written
from vllm_flow.core.values import BadRow, Turn
from vllm_flow.inputs import File, Text
from vllm_flow.media import Files

HERE = "Add resources.media: {use: media/files}."


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gate:
    """With a working directory that has a cat and a beep in it, and a folder of data with a dog beside the rows."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (4, 3), "red").save("cat.png")
    soundfile.write("beep.wav", numpy.zeros(800), 16000)
    (tmp_path / "data").mkdir()
    Image.new("RGB", (2, 2), "blue").save("data/dog.png")
    return Files().open()


def shown(turn: Any) -> list[str]:
    assert isinstance(turn, Turn), turn
    assert all(one.data for one in turn.message.media)
    return [part.text if isinstance(part, Written) else part.shown for part in turn.message.parts]  # type: ignore[union-attr]


def row_of(gate: Gate | None, **row: Any) -> Any:
    path = Path("data/rows.jsonl")
    path.write_text(json.dumps({"id": "q1", **row}) + "\n")
    (found,) = File(str(path)).turns(gate)
    return found


def parts(*given: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [*given, {"type": "text", "text": "What is it?"}]}]}


def problem_of(gate: Gate | None, **row: Any) -> str:
    found = row_of(gate, **row)
    assert isinstance(found, BadRow)
    return found.problem


def test_a_text_stands_behind_what_it_is_about(gate: Gate) -> None:
    (turn,) = Text("What is it?", image=("cat.png", "data/dog.png"), audio="beep.wav").turns(gate)
    assert shown(turn) == ["[image cat.png]", "[image data/dog.png]", "[audio beep.wav]", "What is it?"]
    (turn,) = Text(audio="beep.wav").turns(gate)
    assert shown(turn) == ["[audio beep.wav]"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"image": "cot.png"}, "input.image: cot.png: there is no such place. Did you mean 'cat.png'? There: beep.wav, cat.png, data."),
        ({"image": "beep.wav"}, "input.image: beep.wav: it is a sound. Write it as input.audio=…."),
        ({"image": "/etc/hostname"}, "input.image: /etc/hostname: it lies outside of the working directory. Move it here, or name the folder it is in under roots."),
        ({}, "input.text: it is empty. Write text=… with something in it."),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_an_error(gate: Gate, given: dict[str, str], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        list(Text(**given).turns(gate))
    assert str(caught.value) == problem


def test_without_a_gate_nothing_is_read() -> None:
    with pytest.raises(InputError) as caught:
        list(Text(image="cat.png").turns())
    assert str(caught.value) == f"input.image: nothing here reads images and sounds. {HERE}"


def test_rows_show_files_beside_them_and_what_is_written_in_them(gate: Gate) -> None:
    cat, beep = (base64.b64encode(Path(name).read_bytes()).decode() for name in ("cat.png", "beep.wav"))
    given = [
        {"type": "image", "image": "dog.png"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{cat}"}},
        {"type": "input_audio", "input_audio": {"data": beep, "format": "wav"}},
        {"type": "audio", "audio": str(Path("beep.wav").resolve())},
    ]
    turn = row_of(gate, **parts(*given))
    beeps = ["[audio audio]", f"[audio {Path('beep.wav').resolve()}]"]
    assert shown(turn) == ["[image dog.png]", "[image image]", *beeps, "What is it?"]
    dog, shown_cat, first, second = turn.message.media
    assert (dog.width, shown_cat.width, first) == (2, 4, second)


@pytest.mark.parametrize(
    ("part", "problem"),
    [
        ({"type": "image", "image": 3}, "image: 3 is no text. Put it in quotation marks."),
        ({"type": "image_url", "image_url": {"url": "https://host/cat.png"}}, "image_url: nothing is fetched from 'https://host/cat.png'. Put the file beside the rows, and name it."),
        ({"type": "image_url", "image_url": {"url": "data:image/png,abc"}}, "image_url: a data URL that is no base64. Write data:image/png;base64,…"),
        ({"type": "input_audio", "input_audio": {"data": "?"}}, "input_audio: it is no base64. Encode the file's bytes."),
        ({"type": "image", "image": {"data": "R0lGODlh"}}, "image: image: it is neither an image (PNG, JPEG, WEBP) nor a sound (WAV, FLAC, OGG, MP3). Convert it to one of these."),
        ({"type": "image_url", "image_url": {"url": "data:\33[2J;base64,R0lGODlh"}}, "image_url: image: it is neither an image (PNG, JPEG, WEBP) nor a sound (WAV, FLAC, OGG, MP3). Convert it to one of these."),
        ({"type": "audio", "audio": "dog.png"}, "audio: dog.png is an image. Show it as one."),
    ],
)  # fmt: skip
def test_a_part_that_shows_nothing_is_a_bad_row(gate: Gate, part: dict[str, Any], problem: str) -> None:
    assert problem_of(gate, **parts(part)) == f"messages.0.content.0.{problem}"


def test_a_file_outside_of_the_declared_places_is_a_bad_row(gate: Gate) -> None:
    found = problem_of(gate, **parts({"type": "image", "image": "/etc/hostname"}))
    assert found == (
        "messages.0.content.0.image: /etc/hostname: it lies outside of the working directory. Move it here, or name the "
        "folder it is in under roots."
    )
    assert problem_of(None, **parts({"type": "image", "image": "dog.png"})) == (
        f"messages.0.content.0.image: nothing here reads images and sounds. {HERE}"
    )


def test_columns_show_a_file_or_several(gate: Gate) -> None:
    rows = ["question,picture,sound", "What?,dog.png,", '"Which?","[""dog.png"", ""../cat.png""]",../beep.wav']
    Path("data/rows.csv").write_text("\n".join(rows) + "\n")
    file = File("data/rows.csv", text="{question}", image="picture", audio="sound")
    first, second = file.turns(gate)
    assert shown(first) == ["[image dog.png]", "What?"]
    assert shown(second) == ["[image dog.png]", "[image ../cat.png]", "[audio ../beep.wav]", "Which?"]
    only, empty = File("data/rows.csv", audio="sound").turns(gate)
    assert only == BadRow(0, "data/rows.csv:2", "there is nothing to see or hear in it. Name a file in the column.")
    assert shown(empty) == ["[audio ../beep.wav]"]
    (problem,) = File("data/rows.csv", messages="question", image="picture").problems()
    assert problem.problem == "image and messages exclude each other: messages show what they show."
