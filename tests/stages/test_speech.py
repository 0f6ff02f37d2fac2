"""Speech in a graph: what is said in a turn's recordings, recorded, and written in the form that people want."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import pytest
import soundfile

from tests.listening import ASKED, Listener, heard
from vllm_flow import load
from vllm_flow.config import compose
from vllm_flow.core import registry
from vllm_flow.core.describing import NotDescribed
from vllm_flow.core.errors import SourceError
from vllm_flow.core.media import Audio
from vllm_flow.core.messages import Message, Text, user
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.recorded import read
from vllm_flow.core.registry import resource
from vllm_flow.core.segments import LeftOut
from vllm_flow.core.subtitles import Form
from vllm_flow.core.transcripts import Transcriber, Transcript, Transcripts
from vllm_flow.core.values import Context, Turn
from vllm_flow.engines.echo import EchoEngine
from vllm_flow.replay.verify import Verification
from vllm_flow.stages.fuse_media import Describe
from vllm_flow.stages.speech import Heard, Speech, Write

A, B = (Audio(digit * 64, 16_000, 16_000, f"talks/{digit}.mp3") for digit in "ab")


@dataclass(frozen=True)
class ListenerOptions:
    """A transcriber for tests."""

    def only_language(self) -> str | None:
        return None

    def open(self) -> Transcriber:
        return Listener()


@pytest.fixture(autouse=True)
def _anew(own_registry: None) -> None:
    ASKED.clear()
    if registry.resource.find("test/listener") is None:
        resource("test/listener")(ListenerOptions)


def said(*sounds: Audio) -> Message:
    return Message("user", (*sounds, Text("What is said?")))


def test_each_recording_is_heard_once_in_the_order_in_which_they_came() -> None:
    speech = Speech(language="en", task="translate")
    found = asyncio.run(speech.run(Turn("c", said(B, A, B)), Listener()))
    assert found == Transcripts((heard(B), heard(A)))
    assert [(B.source, "en", "translate", ""), (A.source, "en", "translate", "")] == ASKED


def test_with_a_context_earlier_recordings_are_heard_too() -> None:
    context = Context((said(A), user("Thanks.")))
    assert asyncio.run(Speech().run(Turn("c", said(B)), Listener(), context=context)).of == (heard(A), heard(B))
    assert asyncio.run(Speech().run(Turn("c", user("Hello.")), Listener())) == Transcripts(())


class Hearing(EchoEngine):
    """A model that reads recordings itself."""

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "media": ["audio"]}


class Forgetful(Listener):
    """Has the first recording no more."""

    async def transcribe(self, audio: Audio, **how: Any) -> Transcript:
        if audio == A:
            raise NotDescribed("its content is not here any more")
        return await super().transcribe(audio, **how)


def test_what_the_model_hears_itself_is_not_written_down() -> None:
    asked = Turn("c", said(A))
    assert asyncio.run(Speech().run(asked, Listener(), model=Hearing())) == Transcripts(())
    assert ASKED == []
    assert asyncio.run(Speech().run(asked, Listener(), model=EchoEngine())).of == (heard(A),)
    nodes = Pipeline.build(compose(["pipeline=listen", "engine=echo"])).graph.nodes
    assert {one.name: one.sources.get("model") for one in nodes}["transcripts"] == "engine"


def test_an_earlier_recording_that_is_gone_is_told_of_and_one_of_the_turn_fails_it() -> None:
    context, turn = Context((said(A), user("Thanks."))), Turn("c", said(B))
    found = asyncio.run(Speech().run(turn, Forgetful(), context=context))
    assert found == Transcripts((heard(B),), {A.digest: "its content is not here any more"})
    fused = Describe(undescribed="error").run(turn, context=context, heard=Heard().run(found))
    assert fused.lines[A.digest] == ("[this recording could not be described]",)
    assert fused.left_out == (LeftOut("media", "recordings", 1, "talks/a.mp3: its content is not here any more"),)
    with pytest.raises(ExceptionGroup) as failed:
        asyncio.run(Speech().run(Turn("c", said(A, B)), Forgetful()))
    assert [str(one) for one in failed.value.exceptions] == [
        "talks/a.mp3: its content is not here any more. Give it again."
    ]
    with pytest.raises(SourceError) as refused:
        Write().run(found)
    assert str(refused.value) == ("a recording of an earlier turn: its content is not here any more. Give it again.")


def test_what_was_heard_stands_in_the_place_of_the_recording_for_any_model() -> None:
    transcripts = Transcripts((heard(A), replace(heard(B), spoken=())))
    message = said(A, B)
    described = Describe().run(Turn("c", message), heard=Heard().run(transcripts))
    (told,) = described.told((message,))
    assert told.text == (
        "<recording>\n[talks/a.mp3]\ntranscript: This is talks/a.mp3.\n</recording>\n"
        "<recording>\n[talks/b.mp3]\ntranscript: no speech\n</recording>\nWhat is said?"
    )


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("text", "This is talks/a.mp3.\n\nThis is talks/b.mp3."),
        (
            "srt",
            "1\n00:00:00,000 --> 00:00:00,700\nThis is talks/a.mp3.\n\n1\n00:00:00,000 --> 00:00:00,700\nThis is talks/b.mp3.",
        ),
    ],
)
def test_what_was_heard_is_written_as_it_is_wanted(form: Form, text: str) -> None:
    written = Write(form=form).run(Transcripts((heard(A), heard(B))))
    assert (written.text, written.files, written.transcripts) == (text, (), (heard(A), heard(B)))


def test_files_are_named_as_the_recordings_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = ("talks/a.mp3", "/home/ana/b.wav", "..\\c.ogg", "", "talks/a.wav", "d")
    of = tuple(replace(heard(A), source=name, digest=f"{place}" * 64) for place, name in enumerate(named))
    found = Write(form="vtt", folder="out").run(Transcripts(of)).files
    assert found == (
        "out/talks/a.vtt", "out/b-11111111.vtt", "out/c-22222222.vtt", f"out/{'3' * 16}.vtt", "out/talks/a-44444444.vtt", "out/d.vtt",
    )  # fmt: skip
    assert (
        tmp_path / "out/talks/a.vtt"
    ).read_text() == "WEBVTT\n\n00:00:00.000 --> 00:00:00.700\nThis is talks/a.mp3.\n"


def test_recordings_of_one_name_in_several_turns_keep_a_file_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write, ana, ben = (
        Write(folder="out"),
        replace(heard(A), source="b.mp3"),
        replace(heard(B), source="b.wav"),
    )
    files = [write.run(Transcripts((one,))).files for one in (ana, ben, ana)]
    assert files == [("out/b.txt",), ("out/b-bbbbbbbb.txt",), ("out/b.txt",)]
    assert [Path(name).read_text() for (name,) in files[:2]] == ["This is talks/a.mp3.\n", "This is talks/b.mp3.\n"]
    assert Write(folder="out").run(Transcripts((ben,))).files == ("out/b.txt",), "of another run"


def test_a_recording_from_elsewhere_has_the_file_it_had_when_its_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ana, ben = replace(heard(A), source="/ana/b.wav"), replace(heard(B), source="/ben/b.wav")
    for one, name in ((ana, "out/b-aaaaaaaa.txt"), (ben, "out/b-bbbbbbbb.txt"), (ana, "out/b-aaaaaaaa.txt")):
        assert Write(folder="out").run(Transcripts((one,))).files == (name,)


def test_what_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()

    def told(folder: str | None, *of: Transcript) -> str:
        with pytest.raises(SourceError) as caught:
            Write(folder=folder).run(Transcripts(of))
        return str(caught.value)

    assert told(None) == "there is no recording to write down. Give one: input.audio=FILE."
    assert told("../x", heard(A)) == "../x: it lies outside of the working directory. Name a folder in it."
    assert told("file", heard(A)) == "file: it cannot be written (Not a directory). Name another folder."
    assert [one.problem for one in Write(folder=" ").problems()] == ["it is empty. Name a folder, or null for none."]


def flac(path: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, numpy.zeros(8000), 16_000, format="FLAC")
    path.write_bytes(file.getvalue())


def test_a_transcript_is_recorded_and_told_again_without_the_transcriber(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    flac(tmp_path / "a.flac")
    row = {"conversation": "x", "parts": [{"type": "audio", "audio": "a.flac"}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    conf = tmp_path / "conf" / "transcriber" / "listener.yaml"
    conf.parent.mkdir(parents=True)
    conf.write_text("# @package resources.transcriber\n# For tests.\nuse: test/listener\n")
    with load("transcribe", ["input.path=rows.jsonl", "transcriber=listener"], record="record") as session:
        (result,) = session.run()
        folder = session.folder
    assert result.text == "This is a.flac."
    assert ASKED == [("a.flac", None, "transcribe", "")]
    assert folder is not None
    recorded = read(folder)
    assert recorded.run["resources"]["transcriber"] == {"transcriber": "listener"}
    (call,) = recorded.calls()[0]["calls"]
    assert (call["resource"], call["method"], call["value"]["asked"]["task"]) == (
        "transcriber",
        "transcribe",
        "transcribe",
    )
    with (verification := Verification(recorded)).runner:
        verdict = asyncio.run(verification.verdict())
    assert (verdict.compared, verdict.differing) == (1, ())
    assert len(ASKED) == 1, "it was asked again"
