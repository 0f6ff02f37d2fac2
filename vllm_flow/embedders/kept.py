"""Vectors of documents, kept in the user's cache: a file for each model, a row for each text, by its hash.

It is a cache: a file that cannot be read or written costs time and no answer.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import apsw
import numpy

from vllm_flow.models.cache import models_folder

WAIT_MS = 2_000
log = logging.getLogger("vllm_flow")


class Kept:
    """Used by one thread at a time; several processes may share the file."""

    def __init__(self, identity: str) -> None:
        """identity: of all that a vector depends on beside its text."""
        self.path = models_folder().parent / "vectors" / f"{identity}.sqlite"
        self._file: apsw.Connection | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.touch(mode=0o600)
            self._file = apsw.Connection(str(self.path))
            self._file.set_busy_timeout(WAIT_MS)
            self._file.execute("CREATE TABLE IF NOT EXISTS vectors (text BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
        except (OSError, apsw.Error) as error:
            self._lost(error)

    def found(self, texts: Iterable[str]) -> dict[str, Any]:
        """Those of the texts that have a vector here."""
        kept: dict[str, Any] = {}
        if self._file is None:
            return kept
        try:
            for text in texts:
                for (vector,) in self._file.execute("SELECT vector FROM vectors WHERE text = ?", (_key(text),)):
                    kept[text] = numpy.frombuffer(vector, dtype=numpy.float32)
        except (apsw.Error, ValueError) as error:
            self._lost(error)
            return {}
        return kept

    def keep(self, vectors: Mapping[str, Any]) -> None:
        if self._file is None or not vectors:
            return
        rows = [(_key(text), vector.astype(numpy.float32).tobytes()) for text, vector in vectors.items()]
        try:
            with self._file:
                self._file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except apsw.Error as error:
            self._lost(error)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _lost(self, error: Exception) -> None:
        log.debug("%s: vectors are not kept: %s", self.path, error)
        self.close()
        self._file = None


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
