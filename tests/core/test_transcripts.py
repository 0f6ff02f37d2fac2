"""Transcripts: as JSON and back, and in the forms that players read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from vllm_flow.core.codec import to_json
from vllm_flow.core.subtitles import FORMS, rendered
from vllm_flow.core.transcript_json import transcript_from_json
from vllm_flow.core.transcripts import Doubt, Spoken, Transcript, Transcripts

SAID = Transcript("0" * 64, "talk.mp3", 3725.5, "en", (
    Spoken(0.0, 2.12, "Is 1 < 2 & 2 > 1?"), Spoken(2.12, 61.0, "One\nminute."), Spoken(3599.9996, 3725.5, "End --> here."),
))  # fmt: skip
DOUBTED = replace(SAID, doubts=(Doubt(2.12, 61.0, "the model is unsure"),))
NOTHING = Transcript("0" * 64, "rain.mp3", 4.0, None, ())


def test_a_text_is_all_that_was_said() -> None:
    assert SAID.text == "Is 1 < 2 & 2 > 1? One\nminute. End --> here."
    assert Transcripts((SAID, NOTHING)).text == f"{SAID.text}\n"


@pytest.mark.parametrize("transcript", [SAID, NOTHING, DOUBTED])
def test_json_gives_an_equal_one_back(transcript: Transcript) -> None:
    assert transcript_from_json(json.loads(json.dumps(to_json(transcript)))) == transcript


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"spoken": [[0.0, 1.0]]}, "transcript.spoken.0: it has 2 entries. Give start, end and text."),
        ({"spoken": [[0.0, 1.0, 2]]}, "transcript.spoken.0.2: 2 is no text. Put it in quotation marks."),
        ({"spoken": [[-1, 1.0, "a"]]}, "transcript.spoken.0.0: -1 does not fit. Give seconds, 0 or more."),
        ({"doubts": [[0.0]]}, "transcript.doubts.0: it has 1 entries. Give start, end and why."),
        ({"seconds": True}, "transcript.seconds: true does not fit. Give seconds, 0 or more."),
        ({"language": 3}, "transcript.language: 3 is no text. Put it in quotation marks."),
        (
            {"speakers": "x"},
            "transcript: there is no key 'speakers'. Keys: digest, doubts, language, seconds, source, spoken.",
        ),
    ],
)
def test_what_is_no_transcript_is_said(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match="transcript") as told:
        transcript_from_json({**to_json(SAID), **changed})
    assert str(told.value) == problem


def test_srt_has_numbers_and_times() -> None:
    assert rendered(SAID, "srt") == (
        "1\n00:00:00,000 --> 00:00:02,120\nIs 1 < 2 & 2 > 1?\n\n"
        "2\n00:00:02,120 --> 00:01:01,000\nOne minute.\n\n"
        "3\n01:00:00,000 --> 01:02:05,500\nEnd --> here.\n"
    )


def test_vtt_escapes_what_its_readers_take_for_tags() -> None:
    assert rendered(SAID, "vtt") == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.120\nIs 1 &lt; 2 &amp; 2 &gt; 1?\n"
        "\n00:00:02.120 --> 00:01:01.000\nOne minute.\n"
        "\n01:00:00.000 --> 01:02:05.500\nEnd --&gt; here.\n"
    )


def test_json_has_the_names_that_other_programs_use() -> None:
    whole = json.loads(rendered(SAID, "json"))
    assert whole["language"] == "en"
    assert whole["text"] == SAID.text
    assert whole["segments"][0] == {"start": 0.0, "end": 2.12, "text": "Is 1 < 2 & 2 > 1?"}
    doubted = json.loads(rendered(DOUBTED, "json"))
    assert doubted == {**whole, "doubts": [{"start": 2.12, "end": 61.0, "why": "the model is unsure"}]}


def test_text_has_a_line_for_each_piece() -> None:
    assert rendered(SAID, "text") == "Is 1 < 2 & 2 > 1?\nOne minute.\nEnd --> here.\n"


def test_where_nothing_is_said_every_form_is_empty() -> None:
    empty = {"text": "", "srt": "", "vtt": "WEBVTT\n"}
    assert {form: rendered(NOTHING, form) for form in FORMS if form != "json"} == empty
    assert json.loads(rendered(NOTHING, "json")) == {"text": "", "language": None, "segments": []}
