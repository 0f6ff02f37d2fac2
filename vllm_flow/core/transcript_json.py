"""Transcripts as JSON and back: a piece is a list of start, end and text, since there are many of them."""

from __future__ import annotations

from typing import Any

from vllm_flow.core.json_checks import brief, check_keys, list_from_json, text_from_json
from vllm_flow.core.transcripts import Spoken, Transcript


def transcript_to_json(transcript: Transcript) -> dict[str, Any]:
    return {
        "digest": transcript.digest,
        "source": transcript.source,
        "seconds": transcript.seconds,
        "language": transcript.language,
        "spoken": [[one.start_s, one.end_s, one.text] for one in transcript.spoken],
    }


def transcript_from_json(data: Any, where: str = "transcript") -> Transcript:
    """A transcript, from what `transcript_to_json` made of one. Raises ValueError."""
    check_keys(data, where, ("digest", "source", "seconds", "language", "spoken"))
    language, pieces = data["language"], list_from_json(data["spoken"], f"{where}.spoken")
    return Transcript(
        text_from_json(data["digest"], f"{where}.digest"),
        text_from_json(data["source"], f"{where}.source"),
        _seconds(data["seconds"], f"{where}.seconds"),
        None if language is None else text_from_json(language, f"{where}.language"),
        tuple(_spoken(one, f"{where}.spoken.{place}") for place, one in enumerate(pieces)),
    )


def _spoken(data: Any, where: str) -> Spoken:
    if len(list_from_json(data, where)) != 3:
        raise ValueError(f"{where}: it has {len(data)} entries. Give start, end and text.")
    start, end, text = data
    return Spoken(_seconds(start, f"{where}.0"), _seconds(end, f"{where}.1"), text_from_json(text, f"{where}.2"))


def _seconds(data: Any, where: str) -> float:
    if type(data) not in (int, float) or data < 0:
        raise ValueError(f"{where}: {brief(data)} does not fit. Give seconds, 0 or more.")
    return float(data)
