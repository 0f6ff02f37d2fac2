"""What rows show: parts that say where an image or a sound is, also as chat services write them; read, and written."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_flow.core.codec import to_json
from vllm_flow.core.errors import MediaError
from vllm_flow.core.files import written_once
from vllm_flow.core.gate import Gate
from vllm_flow.core.json_checks import check_keys, text_from_json
from vllm_flow.core.media import A_KIND, MediaKind, Medium
from vllm_flow.core.media_of import file_of
from vllm_flow.core.messages import Message

MISSING = "nothing here reads images and sounds. Add resources.media: {use: media/files}."
KINDS: dict[str, MediaKind] = {"image": "image", "image_url": "image", "audio": "audio", "input_audio": "audio"}
"""Types of parts, and what each shows. A part of type `image` with a digest is none of them: a record writes such."""


@dataclass(frozen=True, slots=True)
class Shown:
    """Reads parts; relative paths begin in the folder."""

    gate: Gate | None
    folder: Path | None = None

    def __call__(self, data: Any, where: str) -> Medium | None:
        """`{"type": "image", "image": FILE}`, audio likewise, `image_url` and `input_audio`. Raises ValueError."""
        kind = data.get("type") if isinstance(data, dict) else None
        if kind not in KINDS or "digest" in data:
            return None
        check_keys(data, where, ("type", kind))
        return self._of(KINDS[kind], data[kind], f"{where}.{kind}")

    def file(self, kind: MediaKind, path: Any, where: str) -> Medium:
        """Raises ValueError."""
        return self._of(kind, text_from_json(path, where), where)

    def _of(self, kind: MediaKind, given: Any, where: str) -> Medium:
        if self.gate is None:
            raise ValueError(f"{where}: {MISSING}")
        try:
            medium = self._read(self.gate, kind, given, where)
        except MediaError as error:
            raise ValueError(f"{where}: {error}") from None
        if medium.kind != kind:
            raise ValueError(f"{where}: {medium.source} is {A_KIND[medium.kind]}. Show it as one.")
        return medium

    def _read(self, gate: Gate, kind: MediaKind, given: Any, where: str) -> Medium:
        """What has no name is called by its kind."""
        if isinstance(given, dict) and "data" in given:
            check_keys(given, where, ("data",), ("format",))
            return gate.take(_decoded(text_from_json(given["data"], f"{where}.data"), where), kind)
        if isinstance(given, dict):
            check_keys(given, where, ("url",), ("detail",))
            given = given["url"]
        path = text_from_json(given, where)
        if path.startswith("data:"):
            head, _, content = path.partition(",")
            if not head.endswith(";base64"):
                raise ValueError(f"{where}: a data URL that is no base64. Write data:image/png;base64,…")
            return gate.take(_decoded(content, where), kind)
        if "://" in path:
            what = f"nothing is fetched from '{path[:60]}'"
            raise ValueError(f"{where}: {what}. Put the file beside the rows, and name it.")
        return gate.read(path, self.folder)


def as_rows_say(messages: Iterable[Message], folder: Path) -> list[Any]:
    """Messages as JSON, with what they show in files of a folder that stands beside the rows. Raises OSError."""
    return [_in_files(message, folder) if message.media else to_json(message) for message in messages]


def _in_files(message: Message, folder: Path) -> Any:
    parts = []
    for part, written in zip(message.parts, to_json(message)["parts"], strict=True):
        if isinstance(part, Medium) and part.data is not None:
            written_once(folder / file_of(part), part.data)
            written = {"type": part.kind, part.kind: f"{folder.name}/{file_of(part)}"}  # noqa: PLW2901  the same part
        parts.append(written)
    return {"role": message.role, "parts": parts}


def _decoded(text: str, where: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{where}: it is no base64. Encode the file's bytes.") from None
