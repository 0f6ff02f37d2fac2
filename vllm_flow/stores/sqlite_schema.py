"""The tables of a store's file, as the steps that made them: a new file takes all of them, an older one the rest.

So there is one way to the present tables, and every new file walks it. A step and the version it reaches are one
transaction: a process killed while it migrates leaves the file as it was.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, cast

from vllm_flow.core.codec import completion_from_json, turn_from_json
from vllm_flow.core.json_text import decode
from vllm_flow.stores.rules import opening
from vllm_flow.stores.words import words_of

if TYPE_CHECKING:
    import apsw

APPLICATION_ID = 0x766C6677  # "vlfw" in the file's header, so that another program's database is not taken for ours
ONLY_TURNS = """
CREATE TABLE turns (
    conversation TEXT NOT NULL,
    number INTEGER NOT NULL,
    turn TEXT NOT NULL,            -- JSON, see core/codec.py
    reply TEXT,                    -- JSON, or NULL while unanswered
    state TEXT,                    -- JSON of the conversation's state after this turn, or NULL
    written INTEGER NOT NULL,      -- grows with every write: which conversation was written last
    checksum INTEGER NOT NULL,     -- CRC-32 of the other columns but `written`: SQLite does not notice a flipped bit
    PRIMARY KEY (conversation, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX last_written ON turns (written);
"""
APPENDED = """
CREATE TABLE conversations (
    name TEXT NOT NULL PRIMARY KEY,
    title TEXT NOT NULL,
    written INTEGER NOT NULL,      -- grows with every write: which conversation was written last
    written_ms INTEGER NOT NULL,   -- when that was, since 1970
    checksum INTEGER NOT NULL      -- CRC-32 of name, title and written_ms
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX last_written ON conversations (written);
CREATE TABLE turns (
    id INTEGER PRIMARY KEY,        -- in the order in which turns were begun
    conversation TEXT NOT NULL,
    number INTEGER NOT NULL,
    turn TEXT NOT NULL,            -- JSON, see core/codec.py
    reply TEXT,                    -- JSON, or NULL while unanswered
    state TEXT,                    -- JSON of the conversation's state after this turn, or NULL
    taken_back INTEGER NOT NULL,   -- 1: by undo; the row stays, and its number is free again
    checksum INTEGER NOT NULL      -- CRC-32 of conversation, number, turn, reply, state, and of taken_back if it is 1
) STRICT;
CREATE UNIQUE INDEX standing ON turns (conversation, number) WHERE taken_back = 0;
CREATE INDEX fallen ON turns (conversation) WHERE taken_back = 1;
-- Words of the turns that stand, see words.py: row 2 × id is the user's message, 2 × id + 1 the reply. It holds no text
-- of its own. `ascii`, because the words are made already, and it takes every other character for a letter.
CREATE VIRTUAL TABLE words USING fts5 (text, content = '', columnsize = 0, tokenize = 'ascii');
INSERT INTO words (words, rank) VALUES ('secure-delete', 1);
"""
SHOWN = """
CREATE TABLE media (
    digest TEXT NOT NULL PRIMARY KEY,
    data BLOB NOT NULL,            -- PNG or FLAC, see core/media.py
    checksum INTEGER NOT NULL      -- CRC-32 of data
) STRICT;                          -- with row ids: else each look at a digest on the way to another reads its data, too
CREATE TABLE shown (               -- which turn shows which of them: what none shows any more goes
    turn INTEGER NOT NULL REFERENCES turns,
    digest TEXT NOT NULL REFERENCES media,
    PRIMARY KEY (turn, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX shows ON shown (digest);
"""
COPY = """INSERT INTO turns (conversation, number, turn, reply, state, taken_back, checksum)
    SELECT conversation, number, turn, reply, state, 0, checksum FROM turns_1 ORDER BY written, conversation, number"""
ALL = "SELECT id, conversation, turn, reply FROM turns ORDER BY id"
NAMES = "SELECT conversation FROM turns_1 GROUP BY conversation ORDER BY max(written)"


def checksum(*columns: str | int | None) -> int:
    """Of what a row holds. It is compared whenever the row is read."""
    return zlib.crc32("\0".join(map(str, columns)).encode("utf-8", "surrogatepass"))


def _only_turns(connection: apsw.Connection) -> None:
    connection.execute(ONLY_TURNS)


def _append(connection: apsw.Connection) -> None:
    """Checksums move as they are: a row that was damaged before stays known as such."""
    connection.execute("ALTER TABLE turns RENAME TO turns_1; DROP INDEX last_written").fetchall()
    connection.execute(APPENDED).fetchall()
    connection.execute(COPY).fetchall()
    titles: dict[str, str] = {}
    rows = cast(Iterator[tuple[int, str, str, str | None]], connection.execute(ALL))
    for rowid, name, turn, reply in rows:
        try:
            message = turn_from_json(decode(turn)).message
            texts = [message.text, *([] if reply is None else [completion_from_json(decode(reply)).text])]
        except ValueError:  # damaged: it is found as soon as it is read
            continue
        titles.setdefault(name, opening(message))
        for place, text in enumerate(texts):
            words = " ".join(words_of(text))
            connection.execute("INSERT INTO words (rowid, text) VALUES (?, ?)", (2 * rowid + place, words))
    now = time.time_ns() // 1_000_000
    names = [str(name) for (name,) in connection.execute(NAMES).fetchall()]
    for written, name in enumerate(names, 1):
        title = titles.get(name, "")
        row = (name, title, written, now, checksum(name, title, now))
        connection.execute("INSERT INTO conversations VALUES (?, ?, ?, ?, ?)", row)
    connection.execute("DROP TABLE turns_1").fetchall()


def _show(connection: apsw.Connection) -> None:
    connection.execute(SHOWN).fetchall()


STEPS: tuple[Callable[[apsw.Connection], None], ...] = (_only_turns, _append, _show)
VERSION = len(STEPS)


def migrate(connection: apsw.Connection, version: int) -> None:
    """Bring the tables from `version`, 0 for an empty file, to the present one. Within the caller's transaction."""
    for step in STEPS[version:]:
        step(connection)
    if version < VERSION:
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={VERSION}")
