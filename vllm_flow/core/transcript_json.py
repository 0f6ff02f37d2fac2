"""Transcripts as JSON and back: a piece is a list of start, end and text, since there are many of them.

Doubts are left out where there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vllm_flow.core.json_checks import brief, check_keys, list_from_json, text_from_json
from vllm_flow.core.transcripts import Doubt, Spoken, Transcript


def transcript_to_json(transcript: Transcript) -> dict[str, Any]:
    doubts = {"doubts": [[one.start_s, one.end_s, one.why] for one in transcript.doubts]} if transcript.doubts else {}
    return {
        "digest": transcript.digest,
        "source": transcript.source,
        "seconds": transcript.seconds,
        "language": transcript.language,
        "spoken": [[one.start_s, one.end_s, one.text] for one in transcript.spoken],
        **doubts,
    }


def transcript_from_json(data: Any, where: str = "transcript") -> Transcript:
    """A transcript, from what `transcript_to_json` made of one. Raises ValueError."""
    check_keys(data, where, ("digest", "source", "seconds", "language", "spoken"), ("doubts",))
    language = data["language"]
    return Transcript(
        text_from_json(data["digest"], f"{where}.digest"),
        text_from_json(data["source"], f"{where}.source"),
        _seconds(data["seconds"], f"{where}.seconds"),
        None if language is None else text_from_json(language, f"{where}.language"),
        tuple(Spoken(*one) for one in _stretches(data["spoken"], f"{where}.spoken", "text")),
        tuple(Doubt(*one) for one in _stretches(data.get("doubts", []), f"{where}.doubts", "why")),
    )


def _stretches(data: Any, where: str, what: str) -> Iterator[tuple[float, float, str]]:
    for place, one in enumerate(list_from_json(data, where)):
        at = f"{where}.{place}"
        if len(list_from_json(one, at)) != 3:
            raise ValueError(f"{at}: it has {len(one)} entries. Give start, end and {what}.")
        start, end, text = one
        yield _seconds(start, f"{at}.0"), _seconds(end, f"{at}.1"), text_from_json(text, f"{at}.2")


def _seconds(data: Any, where: str) -> float:
    if type(data) not in (int, float) or data < 0:
        raise ValueError(f"{where}: {brief(data)} does not fit. Give seconds, 0 or more.")
    return float(data)
