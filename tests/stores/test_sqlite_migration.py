"""A file of version 1, as it was written then: it opens, holds what it held, and keeps every promise of the present."""

from __future__ import annotations

import zlib
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from vllm_flow.core.errors import StoreError
from vllm_flow.core.media import Image
from vllm_flow.core.messages import system, user
from vllm_flow.core.resources import StoredTurn
from vllm_flow.core.values import Completion, Turn, Usage
from vllm_flow.stores import Sqlite, sqlite_schema

VERSION_1 = """
CREATE TABLE turns (
    conversation TEXT NOT NULL,
    number INTEGER NOT NULL,
    turn TEXT NOT NULL,
    reply TEXT,
    state TEXT,
    written INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    PRIMARY KEY (conversation, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX last_written ON turns (written);
PRAGMA application_id=1986815607;
PRAGMA user_version=1;
"""
ROWS = [
    ("ann", 1, '{"conversation":"ann","message":{"role":"user","content":"Is it raining in \\u5317\\u4eac?"},"history":[{"role":"system","content":"Be brief."}],"number":1,"sample":0,"index":0}', '{"text":"Yes.","token_ids":[5,2],"finish_reason":"stop","usage":{"prompt_tokens":12,"completion_tokens":2},"logprobs":null}', '{"n":1}', 2),
    ("ann", 2, '{"conversation":"ann","message":{"role":"user","content":"half: \\ud83d"},"history":[],"number":2,"sample":1,"index":4}', '{"text":"Well","token_ids":[9],"finish_reason":"interrupted","usage":{"prompt_tokens":20,"completion_tokens":1},"logprobs":null}', None, 5),
    ("bob", 7, '{"conversation":"bob","message":{"role":"user","content":"Hello"},"history":[],"number":7,"sample":0,"index":0}', None, None, 4),
]  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.sqlite"
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
        connection.execute(VERSION_1).fetchall()
        for *columns, written in ROWS:
            crc = zlib.crc32("\0".join(map(str, columns)).encode("utf-8", "surrogatepass"))
            connection.execute("INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?, ?)", (*columns, written, crc))
    return path


def test_a_file_of_version_1_is_migrated_as_it_is_opened(old: Path) -> None:
    with closing(Sqlite(str(old)).open()) as store:
        first, second = store.turns("ann")
        assert first == StoredTurn(
            Turn("ann", user("Is it raining in 北京?"), (system("Be brief."),), 1),
            Completion("Yes.", (5, 2), "stop", Usage(12, 2)),
        )
        assert (second.turn.text, second.turn.sample, second.turn.index) == ("half: \ud83d", 1, 4)
        assert second.reply == Completion("Well", (9,), "interrupted", Usage(20, 1))
        assert store.turns("bob") == (StoredTurn(Turn("bob", user("Hello"), number=7), None),)
        assert (store.state("ann"), store.next_number("bob"), store.last_conversation()) == ({"n": 1}, 8, "ann")
        assert [(one.name, one.title, one.turns) for one in store.conversations()] == [
            ("ann", "Is it raining in 北京?", 2),
            ("bob", "Hello", 1),
        ]
        assert [(one.conversation, one.number) for one in store.search("北京")] == [("ann", 1)]
        assert [one.message.role for one in store.search("well")] == ["assistant"]
    with closing(apsw.Connection(str(old))) as connection:
        assert connection.execute("PRAGMA user_version").get == sqlite_schema.VERSION
        assert connection.execute("PRAGMA integrity_check").get == "ok"
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE sql IS NOT NULL")}
    assert {name for name in tables if not name.startswith("words")} == {
        "conversations", "fallen", "last_written", "media", "shown", "shows", "standing", "turns",
    }  # fmt: skip


def test_a_file_of_version_2_holds_what_it_held_and_takes_what_is_shown(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(sqlite_schema, "STEPS", sqlite_schema.STEPS[:2])
        before.setattr(sqlite_schema, "VERSION", 2)
        with closing(Sqlite(str(old)).open()) as store:
            held = store.dump("ann"), store.dump("bob")
    with closing(apsw.Connection(str(old))) as connection:
        assert connection.execute("PRAGMA user_version").get == 2
        assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'media'").get == 0
    cat = Image("a" * 64, 3, 2, "cat.png", b"the cat")
    with closing(Sqlite(str(old)).open()) as store:
        assert (store.dump("ann"), store.dump("bob")) == held
        store.begin(Turn("bob", user("Look.", cat), number=8))
    with closing(Sqlite(str(old)).open()) as store:
        assert [one.data for one in store.turns("bob")[1].turn.message.media] == [b"the cat"]


def test_what_was_damaged_before_is_known_as_such_afterwards(old: Path) -> None:
    with closing(apsw.Connection(str(old))) as connection:
        connection.execute("UPDATE turns SET reply = replace(reply, 'Yes', 'Yet') WHERE number = 1")
        connection.execute("UPDATE turns SET turn = 'nothing' WHERE conversation = 'bob'")
    with closing(Sqlite(str(old)).open()) as store:
        for name, number in (("ann", 1), ("bob", 7)):
            with pytest.raises(StoreError) as caught:
                store.turns(name)
            assert str(caught.value) == (
                f"store.path ({old}): conversation '{name}', turn {number} is damaged (its checksum does not match). "
                "Put back a copy."
            )
        assert [(one.name, one.title) for one in store.conversations()] == [
            ("ann", "Is it raining in 北京?"),
            ("bob", ""),
        ]


def test_a_migration_that_fails_leaves_the_file_as_it_was(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(connection: apsw.Connection) -> None:
        sqlite_schema._append(connection)
        raise OSError("no more")

    with monkeypatch.context() as broken:
        broken.setattr(sqlite_schema, "STEPS", (sqlite_schema.STEPS[0], fails))
        with pytest.raises(StoreError) as caught:
            Sqlite(str(old)).open()
    assert str(caught.value) == f"store.path ({old}): it cannot be used (OSError: no more). Name another file."
    with closing(apsw.Connection(str(old))) as connection:
        assert connection.execute("PRAGMA user_version").get == 1
        assert connection.execute("SELECT count(*) FROM turns WHERE written > 0").get == 3
    with closing(Sqlite(str(old)).open()) as store:
        assert len(store.turns("ann")) == 2


def test_a_file_that_is_read_elsewhere_meanwhile_is_migrated_all_the_same(old: Path) -> None:
    with closing(apsw.Connection(str(old))) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM turns").get == 3
        with closing(Sqlite(str(old), wait_s=1).open()) as store:
            assert len(store.turns("ann")) == 2
        assert reader.execute("SELECT count(*) FROM turns WHERE written > 0").get == 3, "it sees the file of before"
        reader.execute("COMMIT")
