"""Images and sounds of a store's file: each once, for as long as a turn shows it. Transactions are the caller's."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from vllm_flow.core.errors import StoreError
from vllm_flow.core.media import Medium
from vllm_flow.core.media_of import media_of, with_content
from vllm_flow.core.values import Turn

KEEP = """INSERT INTO media (digest, data, checksum) VALUES (?, ?, ?)
    ON CONFLICT (digest) DO UPDATE SET data = excluded.data, checksum = excluded.checksum"""
SHOW = "INSERT OR IGNORE INTO shown (turn, digest) SELECT ?, digest FROM media WHERE digest = ?"
CONTENT = "SELECT data, checksum FROM media WHERE digest = ?"
HIDE = "DELETE FROM shown WHERE turn IN (SELECT id FROM turns WHERE conversation = ?)"
DROP = "DELETE FROM media WHERE NOT EXISTS (SELECT 1 FROM shown WHERE shown.digest = media.digest)"
Run = Callable[..., list[tuple[Any, ...]]]
"""Runs a statement with values."""


class Media:
    """The tables `media` and `shown`. where: what an error begins with."""

    def __init__(self, run: Run, where: str) -> None:
        self._run = run
        self._where = where

    def keep(self, row: int, turn: Turn) -> None:
        """What the turn shows, whose row this is. What is kept of it stays, unless it is damaged."""
        for medium in media_of(turn).values():
            if medium.data is not None and not self._is_whole(medium):
                self._run(KEEP, medium.digest, medium.data, zlib.crc32(medium.data))
            self._run(SHOW, row, medium.digest)

    def filled(self, turn: Turn) -> Turn:
        """With the content of what it shows. Raises StoreError for one that is damaged."""
        return with_content(turn, self._content)

    def hide(self, conversation: str) -> None:
        """Of a conversation whose turns are about to go."""
        self._run(HIDE, conversation)
        self._run(DROP)

    def _is_whole(self, medium: Medium) -> bool:
        return any(zlib.crc32(data) == checksum for data, checksum in self._run(CONTENT, medium.digest))

    def _content(self, medium: Medium) -> bytes | None:
        for data, checksum in self._run(CONTENT, medium.digest):
            if zlib.crc32(data) != checksum:
                what = f"the {medium.kind} '{medium.source or medium.digest[:12]}' is damaged"
                raise StoreError(f"{self._where}: {what} (its checksum does not match). Put back a copy.")
            return bytes(data)
        return None
