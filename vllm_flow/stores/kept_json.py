"""A whole conversation as one line of JSON: how it is exported and imported. One line, one conversation, one write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from vllm_flow.core.archive import Kept, KeptTurn
from vllm_flow.core.codec import completion_from_json, encode, turn_from_json
from vllm_flow.core.json_checks import brief, check_keys, list_from_json, text_from_json
from vllm_flow.core.json_text import decode


def line_of(kept: Kept) -> str:
    """One line of ASCII. Raises ValueError for what JSON cannot hold."""
    written = kept.written.astimezone(UTC).isoformat(timespec="milliseconds")
    return encode({"conversation": kept.name, "title": kept.title, "written": written, "turns": kept.turns})


def kept_of(line: str) -> Kept:
    """The conversation of a line that `line_of` made. Raises ValueError, `place: what is wrong. …`."""
    data = decode(line)
    check_keys(data, "conversation", ("conversation", "title", "written", "turns"))
    turns = list_from_json(data["turns"], "turns")
    return Kept(
        text_from_json(data["conversation"], "conversation"),
        text_from_json(data["title"], "title"),
        _moment(text_from_json(data["written"], "written")),
        tuple(_turn(one, f"turns.{place}") for place, one in enumerate(turns)),
    )


def _turn(data: Any, where: str) -> KeptTurn:
    check_keys(data, where, ("turn", "reply", "state"))
    reply, state = data["reply"], data["state"]
    if not isinstance(state, dict | None):
        raise ValueError(f"{where}.state: {brief(state)} is no mapping. Give one, or null.")
    answer = None if reply is None else completion_from_json(reply, f"{where}.reply")
    return KeptTurn(turn_from_json(data["turn"], f"{where}.turn"), answer, state)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"written: {brief(text)} is no moment. Write one such as 2026-01-31T12:00:00+00:00.")
    return moment.astimezone(UTC)
