"""A whole conversation as one line of JSON: how it is exported and imported. One line, one conversation, one write.

What it shows is in the line, too: in `media` by digest, as base64. Whoever wrote the line, it enters through the gate:
a store keeps content by its digest, for all conversations that show it.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from vllm_flow.core.archive import Kept, KeptTurn
from vllm_flow.core.codec import completion_from_json, encode, to_json, turn_from_json
from vllm_flow.core.errors import MediaError
from vllm_flow.core.gate import Gate
from vllm_flow.core.json_checks import brief, check_keys, list_from_json, text_from_json
from vllm_flow.core.json_text import decode
from vllm_flow.core.media import Medium
from vllm_flow.core.media_json import medium_to_json
from vllm_flow.core.media_of import media_of, with_content

AS_IT_WAS = "Take the line as it was exported."


def line_of(kept: Kept) -> str:
    """One line of ASCII. Raises ValueError for what JSON cannot hold."""
    shown = {one.digest: one.data for one in _shown(kept) if one.data is not None}
    return encode(_row(kept, {key: b64encode(data).decode() for key, data in shown.items()}))


def row_to_show(kept: Kept) -> dict[str, Any]:
    """For whoever looks at it: of what it shows only what that is, and how many bytes are kept of it."""
    media = ({**medium_to_json(one), "bytes": None if one.data is None else len(one.data)} for one in _shown(kept))
    row: dict[str, Any] = to_json(_row(kept, list(media)))
    return row


def _row(kept: Kept, media: object) -> dict[str, object]:
    written = kept.written.astimezone(UTC).isoformat(timespec="milliseconds")
    row: dict[str, object] = {"conversation": kept.name, "title": kept.title, "written": written, "turns": kept.turns}
    return {**row, "media": media} if media else row


def _shown(kept: Kept) -> Iterable[Medium]:
    """Each once."""
    return {key: one for turn in kept.turns for key, one in media_of(turn.turn).items()}.values()


def kept_of(line: str, gate: Gate) -> Kept:
    """The conversation of a line that `line_of` made. Raises ValueError, `place: what is wrong. …`."""
    data = decode(line)
    check_keys(data, "conversation", ("conversation", "title", "written", "turns"), ("media",))
    turns, media = list_from_json(data["turns"], "turns"), _media(data.get("media", {}), gate)
    return Kept(
        text_from_json(data["conversation"], "conversation"),
        text_from_json(data["title"], "title"),
        _moment(text_from_json(data["written"], "written")),
        tuple(_turn(one, f"turns.{place}", media) for place, one in enumerate(turns)),
    )


def _media(data: Any, gate: Gate) -> dict[str, Medium]:
    if not isinstance(data, dict):
        raise ValueError(f"media: {brief(data)} is no mapping. Give the content by digest, as base64.")
    found = dict[str, Medium]()
    for digest, text in data.items():
        where = f"media.{digest}"
        encoded = text_from_json(text, where)
        try:
            found[digest] = gate.take(b64decode(encoded, validate=True), where)
        except MediaError as error:
            raise ValueError(str(error)) from None
        except ValueError:
            raise ValueError(f"{where}: it is no base64. {AS_IT_WAS}") from None
        if found[digest].digest != digest:
            raise ValueError(f"{where}: it is not what its name says. {AS_IT_WAS}")
    return found


def _turn(data: Any, where: str, media: Mapping[str, Medium]) -> KeptTurn:
    check_keys(data, where, ("turn", "reply", "state"))
    reply, state = data["reply"], data["state"]
    if not isinstance(state, dict | None):
        raise ValueError(f"{where}.state: {brief(state)} is no mapping. Give one, or null.")

    def content(shown: Medium) -> bytes | None:
        if (known := media.get(shown.digest, shown)) != shown:
            raise ValueError(f"media.{shown.digest}: it is not what {where} shows. {AS_IT_WAS}")
        return known.data

    answer = None if reply is None else completion_from_json(reply, f"{where}.reply")
    return KeptTurn(with_content(turn_from_json(data["turn"], f"{where}.turn"), content), answer, state)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"written: {brief(text)} is no moment. Write one such as 2026-01-31T12:00:00+00:00.")
    return moment.astimezone(UTC)
