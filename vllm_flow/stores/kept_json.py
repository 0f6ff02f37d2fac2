"""A whole conversation as one line of JSON: how it is exported and imported. One line, one conversation, one write.

What it shows is in the line, too: in `media` by digest, as base64.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from vllm_flow.core.archive import Kept, KeptTurn
from vllm_flow.core.codec import completion_from_json, encode, turn_from_json
from vllm_flow.core.json_checks import brief, check_keys, list_from_json, text_from_json
from vllm_flow.core.json_text import decode
from vllm_flow.core.media_of import media_of, with_content


def line_of(kept: Kept) -> str:
    """One line of ASCII. Raises ValueError for what JSON cannot hold."""
    written = kept.written.astimezone(UTC).isoformat(timespec="milliseconds")
    shown = {key: one.data for turn in kept.turns for key, one in media_of(turn.turn).items() if one.data is not None}
    media = {"media": {key: b64encode(data).decode() for key, data in shown.items()}} if shown else {}
    return encode({"conversation": kept.name, "title": kept.title, "written": written, "turns": kept.turns, **media})


def kept_of(line: str) -> Kept:
    """The conversation of a line that `line_of` made. Raises ValueError, `place: what is wrong. …`."""
    data = decode(line)
    check_keys(data, "conversation", ("conversation", "title", "written", "turns"), ("media",))
    turns, media = list_from_json(data["turns"], "turns"), _media(data.get("media", {}))
    return Kept(
        text_from_json(data["conversation"], "conversation"),
        text_from_json(data["title"], "title"),
        _moment(text_from_json(data["written"], "written")),
        tuple(_turn(one, f"turns.{place}", media) for place, one in enumerate(turns)),
    )


def _media(data: Any) -> dict[str, bytes]:
    if not isinstance(data, dict):
        raise ValueError(f"media: {brief(data)} is no mapping. Give the content by digest, as base64.")
    found = {}
    for digest, text in data.items():
        try:
            found[digest] = b64decode(text_from_json(text, f"media.{digest}"), validate=True)
        except binascii.Error:
            raise ValueError(f"media.{digest}: it is no base64. Take the line as it was exported.") from None
    return found


def _turn(data: Any, where: str, media: Mapping[str, bytes]) -> KeptTurn:
    check_keys(data, where, ("turn", "reply", "state"))
    reply, state = data["reply"], data["state"]
    if not isinstance(state, dict | None):
        raise ValueError(f"{where}.state: {brief(state)} is no mapping. Give one, or null.")
    answer = None if reply is None else completion_from_json(reply, f"{where}.reply")
    turn = turn_from_json(data["turn"], f"{where}.turn")
    return KeptTurn(with_content(turn, lambda medium: media.get(medium.digest)), answer, state)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"written: {brief(text)} is no moment. Write one such as 2026-01-31T12:00:00+00:00.")
    return moment.astimezone(UTC)
