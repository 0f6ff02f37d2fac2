"""A store in one SQLite file: what was acknowledged is still there after a crash, a kill or a power cut.

The user's turn is one transaction (`begin`), the reply with the conversation's state a second one (`commit`), each on
the disk before the call returns. The key (conversation, number) makes a repeated delivery harmless. Turns are only ever
added and answered: taking one back marks it, so that no slip of a finger destroys what was said; deleting a
conversation, or leaving it longer than `keep_days`, does. A branch is a copy: neither side can change the other.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import RLock
from typing import Any

from vllm_flow.core.archive import Conversation, Found, Kept, KeptTurn
from vllm_flow.core.errors import StoreError
from vllm_flow.core.json_text import decode
from vllm_flow.core.messages import Message, assistant
from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Completion, Turn
from vllm_flow.stores import rules, sqlite_rows
from vllm_flow.stores.rules import as_json, as_kept, check_same, is_answered, key_of
from vllm_flow.stores.sqlite_file import in_words, open_database, transaction, where
from vllm_flow.stores.sqlite_rows import NameRow, Rows
from vllm_flow.stores.words import Phrase, Query


class SqliteStore:
    """Archive in a file. Every method raises StoreError when the file fails; it can be used again afterwards.

    Threads may share it; each process opens its own.
    """

    def __init__(self, path: Path, wait_s: float) -> None:
        self._path = path
        self._wait_s = wait_s
        self._connection = open_database(path, wait_s)
        self._inode = os.stat(path).st_ino
        self._rows = Rows(self._connection, path)
        self._lock = RLock()

    def next_number(self, conversation: str) -> int:
        with self._reading():
            return int(self._rows.run(sqlite_rows.NEXT_NUMBER, conversation)[0][0])

    def turns(self, conversation: str) -> tuple[StoredTurn, ...]:
        with self._reading():
            rows = self._rows.turns(sqlite_rows.ALL_UP, conversation)
        return tuple(map(self._rows.stored, rows))

    def state(self, conversation: str) -> Mapping[str, Any]:
        with self._reading():
            rows = self._rows.turns(sqlite_rows.LAST_WITH_STATE, conversation)
        for row in rows:
            self._rows.written_in(row)  # finds damage
            return dict(decode(row.state or "{}"))
        return {}

    def begin(self, turn: Turn) -> StoredTurn:
        key_of(turn)
        kept = as_kept(turn)
        with self._writing():
            if (row := self._rows.one(turn)) is not None:
                self._rows.show_again(row, kept)
                stored = self._rows.stored(row)
                check_same(turn, stored.turn)
                return stored
            self._rows.begun(kept)
            self._rows.add(kept, None, None)
        return StoredTurn(kept, None)

    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        key_of(turn)
        text = as_json(turn, state)
        with self._writing():
            if (row := self._rows.one(turn)) is None:
                raise rules.not_begun(turn)
            stored = self._rows.written_in(row)
            check_same(turn, stored.turn)
            if not is_answered(stored.reply):
                self._rows.answer(row, turn, reply, text)
            elif stored.reply != reply or row.state != text:
                raise rules.answered_otherwise(turn)

    def interrupt(self, turn: Turn, partial: Completion) -> None:
        key_of(turn)
        reply = dataclasses.replace(partial, finish_reason="interrupted")
        with self._writing():
            if (row := self._rows.one(turn)) is None:
                return
            stored = self._rows.written_in(row)
            if not is_answered(stored.reply):
                check_same(turn, stored.turn)
                self._rows.answer(row, turn, reply, None)

    def undo(self, conversation: str) -> Message | None:
        with self._writing():
            for row in self._rows.turns(sqlite_rows.LAST, conversation):
                return self._rows.take_back(row).turn.message
        return None

    def last_conversation(self) -> str | None:
        with self._reading():
            rows = self._rows.run(sqlite_rows.LAST_WRITTEN)
        return str(rows[0][0]) if rows else None

    def conversations(self) -> tuple[Conversation, ...]:
        with self._reading():
            rows = self._rows.counted()
        return tuple(Conversation(row.name, row.title, turns, rules.moment(row.written_ms)) for row, turns in rows)

    def set_title(self, conversation: str, title: str) -> None:
        with self._writing():
            if not self._rows.is_there(conversation):
                raise rules.unknown(conversation)
            self._rows.entitle(conversation, rules.as_title(conversation, title))

    def search(self, text: str, limit: int = 20) -> tuple[Found, ...]:
        query, found = Query.of(text), list[Found]()
        with self._reading(), transaction(self._connection, "DEFERRED"):
            for place in self._rows.matches(" AND ".join(map(_quoted, query.phrases))):
                if len(found) >= limit:
                    break
                for row in self._rows.turns(sqlite_rows.BY_ID, place // 2):
                    stored = self._rows.stored(row)
                    said = (
                        stored.turn.message if place % 2 == 0 else assistant(stored.reply.text if stored.reply else "")
                    )
                    if query.matches(said.text):  # a flipped bit in the index finds nothing wrong
                        found.append(Found(row.conversation, row.number, said))
        return tuple(found)

    def fork(self, conversation: str, to: str, number: int | None = None) -> None:
        rules.check_name(to)
        with self._writing():
            title = self._named(conversation).title
            rows = self._rows.turns(sqlite_rows.ALL_UP, conversation)
            stored = tuple(map(self._rows.stored, rows))
            rules.check_fork(stored, conversation, number)
            if self._rows.named(to):
                raise rules.taken(to)
            for row, one in zip(rows, stored, strict=True):
                if number is None or row.number <= number:
                    self._rows.add(dataclasses.replace(one.turn, conversation=to), one.reply, row.state)
            self._rows.written(to, title)

    def taken_back(self, conversation: str) -> tuple[StoredTurn, ...]:
        with self._reading():
            self._named(conversation)
            rows = self._rows.turns(sqlite_rows.FALLEN, conversation)
        return tuple(map(self._rows.stored, rows))

    def dump(self, conversation: str) -> Kept:
        with self._reading(), transaction(self._connection, "DEFERRED"):
            return self._dumped(self._named(conversation))

    def load(self, kept: Kept) -> bool:
        kept = rules.as_loaded(kept)
        with self._writing():
            if (known := self._rows.named(kept.name)) is not None:
                if self._dumped(known).turns == kept.turns:
                    return False
                raise rules.taken(kept.name)
            for one in kept.turns:
                self._rows.add(one.turn, one.reply, None if one.state is None else as_json(one.turn, one.state))
            self._rows.written(kept.name, kept.title, rules.milliseconds(kept.written))
        return True

    def delete(self, conversation: str, before: datetime | None = None) -> bool:
        with self._writing():
            if not self._rows.is_there(conversation):
                return False
            if before is not None and self._named(conversation).written_ms >= rules.milliseconds(before):
                return False
            self._rows.delete(conversation)
        with self._reading():  # what was deleted is in the log yet, unless somebody reads it at this moment
            self._rows.run("PRAGMA wal_checkpoint(TRUNCATE)")
        return True

    def close(self) -> None:
        with self._reading():
            self._connection.close()

    def _named(self, conversation: str) -> NameRow:
        if (row := self._rows.named(conversation)) is None:
            raise rules.unknown(conversation)
        return row

    def _dumped(self, row: NameRow) -> Kept:
        turns = []
        for one in self._rows.turns(sqlite_rows.ALL_UP, row.name):
            stored = self._rows.stored(one)
            turns.append(KeptTurn(stored.turn, stored.reply, None if one.state is None else decode(one.state)))
        return Kept(row.name, row.title, rules.moment(row.written_ms), tuple(turns))

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, in_words(self._path, self._wait_s):
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._reading():
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


def _quoted(phrase: Phrase) -> str:
    """As FTS5 reads it; there are letters and digits in it, and nothing else."""
    return f'"{" ".join(phrase.words)}"{"*" if phrase.open else ""}'
