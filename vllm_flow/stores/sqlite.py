"""A store in one SQLite file: what was acknowledged is still there after a crash, a kill or a power cut.

The user's turn is one transaction (`begin`), the reply with the conversation's state a second one (`commit`), each on
the disk before the call returns. The key (conversation, number) makes a repeated delivery harmless.
"""

from __future__ import annotations

import dataclasses
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, cast

from vllm_flow.core.codec import completion_from_json, decode, turn_from_json
from vllm_flow.core.errors import StoreError
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Completion, Message, Turn
from vllm_flow.stores.rules import answered_otherwise, as_json, as_kept, check_same, is_answered, key_of, not_begun
from vllm_flow.stores.sqlite_file import in_words, open_database, transaction, where

TURNS = "SELECT conversation, number, turn, reply, state, checksum FROM turns WHERE conversation = ?"
ONE_TURN = TURNS + " AND number = ?"
TURNS_UP = TURNS + " ORDER BY number"
LAST_TWO = TURNS + " ORDER BY number DESC LIMIT 2"
LAST_WITH_STATE = TURNS + " AND state IS NOT NULL ORDER BY number DESC LIMIT 1"
NEXT_NUMBER = "SELECT coalesce(max(number), 0) + 1 FROM turns WHERE conversation = ?"
LAST_WRITTEN = "SELECT conversation FROM turns ORDER BY written DESC LIMIT 1"
INSERT = """INSERT INTO turns (conversation, number, turn, checksum, written)
    VALUES (?, ?, ?, ?, (SELECT coalesce(max(written), 0) + 1 FROM turns))"""
ANSWER = """UPDATE turns SET turn = ?, reply = ?, state = ?, checksum = ?,
    written = (SELECT coalesce(max(written), 0) + 1 FROM turns) WHERE conversation = ? AND number = ?"""
TOUCH = """UPDATE turns SET written = (SELECT coalesce(max(written), 0) + 1 FROM turns)
    WHERE conversation = ? AND number = ?"""
DELETE = "DELETE FROM turns WHERE conversation = ? AND number = ?"
Row = tuple[Any, ...]


@resource("store/sqlite")
@dataclass(frozen=True)
class Sqlite:
    """Keeps conversations in a SQLite file, which several processes may use at once."""

    path: str = "outputs/conversations.sqlite"
    """Made, with its folder, when it does not exist; `~` is the home folder."""
    wait_s: Annotated[float, at_least(0)] = 10.0
    """How long to wait, in seconds, while another process writes."""

    def open(self) -> SqliteStore:
        """Raises StoreError when the file cannot be read and written, or holds something else."""
        if not self.path.strip():
            raise StoreError("store.path: it is empty. Name a file, such as outputs/conversations.sqlite.")
        try:
            path = Path(self.path).expanduser().absolute()
        except RuntimeError as error:  # there is no such user
            raise StoreError(f"store.path ({self.path}): {error} Write the folder out.") from None
        return SqliteStore(path, self.wait_s)


class SqliteStore:
    """Store in a file. Every method raises StoreError when the file fails; the store can be used again afterwards."""

    def __init__(self, path: Path, wait_s: float) -> None:
        self._path = path
        self._wait_s = wait_s
        self._connection = open_database(path, wait_s)
        self._inode = os.stat(path).st_ino

    def next_number(self, conversation: str) -> int:
        with self._reading():
            return int(self._rows(NEXT_NUMBER, conversation)[0][0])

    def turns(self, conversation: str) -> tuple[StoredTurn, ...]:
        with self._reading():
            rows = self._rows(TURNS_UP, conversation)
        return tuple(self._read(row) for row in rows)

    def state(self, conversation: str) -> Mapping[str, Any]:
        with self._reading():
            rows = self._rows(LAST_WITH_STATE, conversation)
        for row in rows:
            self._read(row)  # finds damage
            return dict(decode(row[4]))
        return {}

    def begin(self, turn: Turn) -> StoredTurn:
        name, number = key_of(turn)
        text = as_json(turn, as_kept(turn))
        with self._writing():
            for row in self._rows(ONE_TURN, name, number):
                stored = self._read(row)
                check_same(turn, stored.turn)
                return stored
            self._rows(INSERT, name, number, text, _checksum(name, number, text, None, None))
        return StoredTurn(as_kept(turn), None)

    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        name, number = key_of(turn)
        reply_text, state_text = as_json(turn, reply), as_json(turn, state)
        with self._writing():
            rows = self._rows(ONE_TURN, name, number)
            if not rows:
                raise not_begun(turn)
            stored = self._read(rows[0])
            check_same(turn, stored.turn)
            if not is_answered(stored.reply):
                self._answer(turn, reply_text, state_text)
            elif stored.reply != reply or rows[0][4] != state_text:
                raise answered_otherwise(turn)

    def interrupt(self, turn: Turn, partial: Completion) -> None:
        name, number = key_of(turn)
        text = as_json(turn, dataclasses.replace(partial, finish_reason="interrupted"))
        with self._writing():
            for row in self._rows(ONE_TURN, name, number):
                stored = self._read(row)
                if not is_answered(stored.reply):
                    check_same(turn, stored.turn)
                    self._answer(turn, text, None)

    def undo(self, conversation: str) -> Message | None:
        with self._writing():
            rows = self._rows(LAST_TWO, conversation)
            if not rows:
                return None
            stored = self._read(rows[0])
            self._rows(DELETE, *rows[0][:2])
            for row in rows[1:]:  # taking back is a write: this stays the last conversation
                self._rows(TOUCH, *row[:2])
        return stored.turn.message

    def last_conversation(self) -> str | None:
        with self._reading():
            rows = self._rows(LAST_WRITTEN)
        return str(rows[0][0]) if rows else None

    def close(self) -> None:
        with self._reading():
            self._connection.close()

    def _rows(self, statement: str, *values: str | int | None) -> list[Row]:
        """Run one statement to its end; one left half-way would hold its lock."""
        return cast(list[Row], self._connection.execute(statement, values).fetchall())

    def _answer(self, turn: Turn, reply: str, state: str | None) -> None:
        """Write the turn too: its `sample` says which answer this is."""
        name, number = key_of(turn)
        text = as_json(turn, as_kept(turn))
        checksum = _checksum(name, number, text, reply, state)
        self._rows(ANSWER, text, reply, state, checksum, name, number)

    def _read(self, row: Row) -> StoredTurn:
        name, number, turn, reply, state, checksum = row
        try:
            if checksum != _checksum(name, number, turn, reply, state):
                raise ValueError("its checksum does not match")
            answer = None if reply is None else completion_from_json(decode(reply))
            return StoredTurn(turn_from_json(decode(turn)), answer)
        except ValueError as error:
            raise StoreError(
                f"{where(self._path)}: conversation '{name}', turn {number} is damaged ({error}). Put back a copy."
            ) from None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with in_words(self._path, self._wait_s):
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with in_words(self._path, self._wait_s):
            self._check_in_place()
            with transaction(self._connection):
                yield

    def _check_in_place(self) -> None:
        """A deleted file can still be written to, and what is written is lost."""
        try:
            moved = os.stat(self._path).st_ino != self._inode
        except FileNotFoundError:
            moved = True
        if moved:
            raise StoreError(f"{where(self._path)}: the file was moved or deleted while in use. Start again.")


def _checksum(*columns: str | int | None) -> int:
    return zlib.crc32("\0".join(map(str, columns)).encode("utf-8", "surrogatepass"))
