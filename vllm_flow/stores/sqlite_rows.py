"""The rows of a store's file: read with their checksum, written with it. Transactions are the caller's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import apsw

from vllm_flow.core.codec import completion_from_json, turn_from_json
from vllm_flow.core.errors import StoreError
from vllm_flow.core.json_text import decode
from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Completion, Turn
from vllm_flow.stores.rules import as_json, as_kept, is_titled, opening
from vllm_flow.stores.sqlite_file import where
from vllm_flow.stores.sqlite_media import Media
from vllm_flow.stores.sqlite_schema import checksum
from vllm_flow.stores.words import words_of

COLUMNS = "SELECT id, conversation, number, turn, reply, state, taken_back, checksum FROM turns"
STANDING = f"{COLUMNS} WHERE conversation = ? AND taken_back = 0"
FALLEN = f"{COLUMNS} WHERE conversation = ? AND taken_back = 1 ORDER BY id"
ONE = f"{STANDING} AND number = ?"
ALL_UP = f"{STANDING} ORDER BY number"
LAST = f"{STANDING} ORDER BY number DESC LIMIT 1"
LAST_WITH_STATE = f"{STANDING} AND state IS NOT NULL ORDER BY number DESC LIMIT 1"
NEXT_NUMBER = "SELECT coalesce(max(number), 0) + 1 FROM turns WHERE conversation = ? AND taken_back = 0"
ADD = """INSERT INTO turns (conversation, number, turn, reply, state, taken_back, checksum)
    VALUES (?, ?, ?, ?, ?, 0, ?) RETURNING id"""
ANSWER = "UPDATE turns SET turn = ?, reply = ?, state = ?, checksum = ? WHERE id = ?"
TAKE_BACK = "UPDATE turns SET taken_back = 1, checksum = ? WHERE id = ?"
NAMED = "SELECT name, title, written_ms, checksum FROM conversations WHERE name = ?"
COUNTED = """SELECT name, title, written_ms, checksum,
    (SELECT count(*) FROM turns WHERE conversation = name AND taken_back = 0)
    FROM conversations ORDER BY written DESC"""
LAST_WRITTEN = """SELECT name FROM conversations WHERE EXISTS
    (SELECT 1 FROM turns WHERE conversation = name AND taken_back = 0) ORDER BY written DESC LIMIT 1"""
WRITTEN = """INSERT OR REPLACE INTO conversations (name, title, written_ms, checksum, written)
    VALUES (?, ?, ?, ?, (SELECT coalesce(max(written), 0) + 1 FROM conversations))"""
TITLE = "UPDATE conversations SET title = ?, written_ms = ?, checksum = ? WHERE name = ?"
FORGET = "DELETE FROM conversations WHERE name = ?"
DELETE = "DELETE FROM turns WHERE conversation = ? AND taken_back = ?"
ADD_WORDS = "INSERT INTO words (rowid, text) VALUES (?, ?)"
DROP_WORDS = "INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)"
MATCHES = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC"
BY_ID = f"{COLUMNS} WHERE id = ? AND taken_back = 0"


class TurnRow(NamedTuple):
    """A row of `turns` as it was read, to be trusted only once it is `stored`."""

    id: int
    conversation: str
    number: int
    turn: str
    reply: str | None
    state: str | None
    taken_back: int
    checksum: int

    def expected(self) -> int:
        kept = (self.conversation, self.number, self.turn, self.reply, self.state)
        return checksum(*kept, *([self.taken_back] if self.taken_back else []))


class NameRow(NamedTuple):
    """A row of `conversations`, trusted."""

    name: str
    title: str
    written_ms: int


class Rows:
    """The tables of one file."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._media = Media(self.run, where(path))

    def run(self, statement: str, *values: str | bytes | int | None) -> list[tuple[Any, ...]]:
        """Run one statement to its end; one left half-way would hold its lock."""
        return cast(list[tuple[Any, ...]], self._connection.execute(statement, values).fetchall())

    def turns(self, statement: str, *values: str | int) -> list[TurnRow]:
        return list(map(TurnRow._make, self.run(statement, *values)))

    def one(self, turn: Turn) -> TurnRow | None:
        """The row of that conversation and number, if it stands."""
        return next(iter(self.turns(ONE, turn.conversation, turn.number or 0)), None)

    def stored(self, row: TurnRow) -> StoredTurn:
        """What the row holds. Raises StoreError when its checksum, or that of what it shows, does not match."""
        stored = self.written_in(row)
        turn = self._media.filled(stored.turn)
        return stored if turn is stored.turn else replace(stored, turn=turn)

    def written_in(self, row: TurnRow) -> StoredTurn:
        """As `stored`, without the content of what it shows: that is long, and may be damaged by itself."""
        try:
            if row.checksum != row.expected():
                raise ValueError("its checksum does not match")
            return _decoded(row.turn, row.reply)
        except ValueError as error:
            what = f"conversation '{row.conversation}', turn {row.number} is damaged ({error}). Put back a copy."
            raise StoreError(f"{where(self._path)}: {what}") from None

    def add(self, turn: Turn, reply: Completion | None, state: str | None) -> None:
        """A new row. `begun` or `written` says that the conversation was written."""
        text, answer = as_json(turn, turn), None if reply is None else as_json(turn, reply)
        crc = checksum(turn.conversation, turn.number, text, answer, state)
        ((rowid,),) = self.run(ADD, turn.conversation, turn.number, text, answer, state, crc)
        self._media.keep(rowid, turn)
        self._index(rowid, turn, reply)

    def show_again(self, row: TurnRow, turn: Turn) -> None:
        """Mend what is damaged of what the row's turn shows; here it is once more."""
        self._media.keep(row.id, turn)

    def answer(self, row: TurnRow, turn: Turn, reply: Completion, state: str | None) -> None:
        """Write the turn too: its `sample` says which answer this is."""
        before, kept = self.written_in(row).reply, as_kept(turn)
        text, answer = as_json(turn, kept), as_json(turn, reply)
        crc = checksum(row.conversation, row.number, text, answer, state)
        self.run(ANSWER, text, answer, state, crc, row.id)
        if before is not None:
            self.run(DROP_WORDS, 2 * row.id + 1, " ".join(words_of(before.text)))
        self.run(ADD_WORDS, 2 * row.id + 1, " ".join(words_of(reply.text)))
        self.written(row.conversation)

    def take_back(self, row: TurnRow) -> StoredTurn:
        stored = self.stored(row)
        self.run(TAKE_BACK, row._replace(taken_back=1).expected(), row.id)
        self._drop_words(row.id, stored)
        self.written(row.conversation)
        return stored

    def named(self, name: str) -> NameRow | None:
        """What is kept of the conversation as a whole; None when there is none."""
        return next((self._trusted(*row) for row in self.run(NAMED, name)), None)

    def counted(self) -> list[tuple[NameRow, int]]:
        """Every conversation with its turns, the one written last first."""
        return [(self._trusted(*row[:-1]), row[-1]) for row in self.run(COUNTED)]

    def begun(self, turn: Turn) -> None:
        """Say that the conversation was written; it is called after its first turn, unless somebody gave a title."""
        is_first = self.run(NEXT_NUMBER, turn.conversation) == [(1,)]
        known = self._believed(turn.conversation) if is_first else None
        titled = known and is_titled(known.title, (gone for _, gone in self._readable(FALLEN, known.name)))
        self.written(turn.conversation, title=opening(turn.message) if is_first and not titled else None)

    def written(self, name: str, title: str | None = None, written_ms: int | None = None) -> None:
        """Say that a turn of the conversation was written: now, unless it is said when."""
        if title is None:
            known = self.named(name)
            title = known.title if known else ""
        now = _now_ms() if written_ms is None else written_ms
        self.run(WRITTEN, name, title, now, checksum(name, title, now))

    def is_there(self, name: str) -> bool:
        """Also when what is kept of it as a whole is damaged."""
        return bool(self.run(NAMED, name))

    def entitle(self, name: str, title: str) -> None:
        """Mends a damaged row, whose time it does not believe."""
        known = self._believed(name)
        written_ms = known.written_ms if known else _now_ms()
        self.run(TITLE, title, written_ms, checksum(name, title, written_ms), name)

    def matches(self, query: str) -> Iterator[int]:
        """Places of messages in the index, the newest first; read on only within a transaction."""
        with closing(self._connection.execute(MATCHES, (query,))) as places:
            for (place,) in places:
                yield place

    def delete(self, name: str) -> None:
        for row, stored in self._readable(STANDING, name):  # what a damaged one said is not known any more
            self._drop_words(row.id, stored)
        self._media.hide(name)
        for taken_back in (0, 1):
            self.run(DELETE, name, taken_back)
        self.run(FORGET, name)

    def _index(self, rowid: int, turn: Turn, reply: Completion | None) -> None:
        texts = [turn.message.text, *([] if reply is None else [reply.text])]
        for place, text in enumerate(texts):
            self.run(ADD_WORDS, 2 * rowid + place, " ".join(words_of(text)))

    def _drop_words(self, rowid: int, stored: StoredTurn) -> None:
        texts = [stored.turn.message.text, *([] if stored.reply is None else [stored.reply.text])]
        for place, text in enumerate(texts):
            self.run(DROP_WORDS, 2 * rowid + place, " ".join(words_of(text)))

    def _readable(self, statement: str, name: str) -> Iterator[tuple[TurnRow, StoredTurn]]:
        """Without those that are damaged."""
        for row in self.turns(statement, name):
            with suppress(StoreError):
                yield row, self.written_in(row)

    def _believed(self, name: str) -> NameRow | None:
        """As `named`; None also when it is damaged."""
        with suppress(StoreError):
            return self.named(name)
        return None

    def _trusted(self, name: str, title: str, written_ms: int, crc: int) -> NameRow:
        if crc != checksum(name, title, written_ms):
            what = f"conversation '{name}': its title or time is damaged (the checksum does not match)"
            raise StoreError(f"{where(self._path)}: {what}. Give it a title again, or put back a copy.")
        return NameRow(name, title, written_ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=1024)
def _decoded(turn: str, reply: str | None) -> StoredTurn:
    """By their text, so that it cannot be stale: each turn of a growing conversation reads those before it again."""
    answer = None if reply is None else completion_from_json(decode(reply))
    return StoredTurn(turn_from_json(decode(turn)), answer)
