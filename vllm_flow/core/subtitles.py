"""Transcripts in the forms that players and editors read: SubRip (SRT), WebVTT, JSON, and plain text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Literal, get_args

from vllm_flow.core.transcripts import Transcript

Form = Literal["text", "srt", "vtt", "json"]
FORMS: tuple[Form, ...] = get_args(Form)
ENDINGS: Mapping[Form, str] = {"text": ".txt", "srt": ".srt", "vtt": ".vtt", "json": ".json"}


def rendered(transcript: Transcript, form: Form) -> str:
    """The content of a file of that form, its last line end included; nothing but a heading where nothing is said."""
    return RENDERERS[form](transcript)


def _text(transcript: Transcript) -> str:
    """A line for each piece."""
    return "".join(f"{' '.join(one.text.split())}\n" for one in transcript.spoken)


def _srt(transcript: Transcript) -> str:
    """As SubRip writes it: a number, times with a comma, the text, an empty line."""
    return "\n".join(
        f"{number}\n{_clock(one.start_s, ',')} --> {_clock(one.end_s, ',')}\n{' '.join(one.text.split())}\n"
        for number, one in enumerate(transcript.spoken, start=1)
    )


def _vtt(transcript: Transcript) -> str:
    """https://www.w3.org/TR/webvtt1: `&` and `<` are escaped there, and `-->` cannot stand in a text."""
    cues = (
        f"\n{_clock(one.start_s, '.')} --> {_clock(one.end_s, '.')}\n{_escaped(' '.join(one.text.split()))}\n"
        for one in transcript.spoken
    )
    return "WEBVTT\n" + "".join(cues)


def _json(transcript: Transcript) -> str:
    """With the names that other programs for transcripts use, too."""
    pieces = [
        {"start": round(one.start_s, 3), "end": round(one.end_s, 3), "text": one.text} for one in transcript.spoken
    ]
    doubts = [{"start": round(one.start_s, 3), "end": round(one.end_s, 3), "why": one.why} for one in transcript.doubts]
    whole = {"text": transcript.text, "language": transcript.language, "segments": pieces}
    if doubts:
        whole["doubts"] = doubts
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def _clock(seconds: float, point: str) -> str:
    """`hh:mm:ss` and thousandths."""
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{point}{thousandths:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


RENDERERS: Mapping[Form, Callable[[Transcript], str]] = {"text": _text, "srt": _srt, "vtt": _vtt, "json": _json}
