"""What only a store in a file must do: last, be private, and refuse a file that is not its own."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from vllm_flow.core.errors import StoreError
from vllm_flow.core.option_checks import problems
from vllm_flow.core.resources import StoredTurn
from vllm_flow.stores import Sqlite
from vllm_flow.stores.retention import expired
from vllm_flow.testing.talk import CUT, answered, asked

posix = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


def refusal(path: Path | str, **options: float) -> str:
    with pytest.raises(StoreError) as caught:
        Sqlite(str(path), **options).open()
    return str(caught.value)


def test_what_was_stored_is_there_when_the_file_is_opened_again(tmp_path):
    path = str(tmp_path / "c.sqlite")
    store = Sqlite(path).open()
    first = answered(store, 1, "first", n=1)
    store.begin(asked(2))
    store.interrupt(asked(2), CUT)
    kept = store.turns("ann")
    store.close()
    store = Sqlite(path).open()
    assert store.turns("ann") == kept
    assert kept[0].turn == first
    assert kept[1] == StoredTurn(asked(2), CUT)
    assert store.state("ann") == {"n": 1}
    assert store.last_conversation() == "ann"
    assert store.next_number("ann") == 3
    store.close()


def test_what_is_not_closed_is_stored_all_the_same(tmp_path):
    store = Sqlite(str(tmp_path / "c.sqlite")).open()
    answered(store, 1, "first")
    other = Sqlite(str(tmp_path / "c.sqlite")).open()
    assert other.turns("ann") == store.turns("ann")
    other.close()
    store.close()


@posix
def test_file_and_folders_are_for_their_owner_only(tmp_path):
    path = tmp_path / "a" / "b" / "c.sqlite"
    store = Sqlite(str(path)).open()
    answered(store, 1, "first")
    modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in (*path.parent.iterdir(), *path.parents[:2])}
    store.close()
    assert modes == {"a": 0o700, "b": 0o700, "c.sqlite": 0o600, "c.sqlite-wal": 0o600, "c.sqlite-shm": 0o600}


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    Sqlite("~/talks/c.sqlite").open().close()
    assert (tmp_path / "talks" / "c.sqlite").is_file()


def test_every_commit_reaches_the_disk_and_readers_do_not_wait(tmp_path):
    pragmas: list[object] = []
    store = Sqlite(str(tmp_path / "c.sqlite")).open()
    for pragma in ("synchronous", "journal_mode"):
        pragmas.append(store._connection.execute(f"PRAGMA {pragma}").get)
    store.close()
    assert pragmas == [2, "wal"], "2 is FULL"


def test_options_are_checked():
    assert [one.problem for one in problems(Sqlite, {"path": 3, "wait_s": -1, "keep_days": 0})] == [
        "3 does not fit. It takes a text.",
        "-1 does not fit. It takes a number of 0 or more.",
        "0 does not fit. It takes a number above 0, or null.",
    ]


def test_an_empty_path_is_refused():
    assert refusal(" ") == "store.path: it is empty. Name a file, such as outputs/conversations.sqlite."


def test_a_home_of_nobody_is_refused():
    assert refusal("~no-such-user-here/c.sqlite") == (
        "store.path (~no-such-user-here/c.sqlite): Could not determine home directory. Write the folder out."
    )


def test_a_folder_is_refused(tmp_path):
    assert refusal(tmp_path) == (
        f"store.path ({tmp_path}): it is a folder. Name a file, such as conversations.sqlite in it."
    )


def test_a_file_on_the_way_is_refused(tmp_path):
    (tmp_path / "notes").write_text("x")
    for path in (tmp_path / "notes" / "c.sqlite", tmp_path / "notes" / "deep" / "c.sqlite"):
        assert refusal(path) == (
            f"store.path ({path}): a part of the path is a file, not a folder. Name a file in a folder."
        )


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 2\0" + bytes(4096), bytes(range(256)) * 20])
def test_what_is_no_database_is_refused_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "c.sqlite"
    path.write_bytes(content)
    assert refusal(path) == f"store.path ({path}): it is not a SQLite database. Name another file, or a new one."
    assert path.read_bytes() == content


def test_the_database_of_another_program_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "c.sqlite"
    other = apsw.Connection(str(path))
    other.execute("CREATE TABLE notes (text)")
    other.close()
    before = path.read_bytes()
    assert refusal(path) == (
        f"store.path ({path}): it is a database of another program. Name another file, or a new one."
    )
    assert path.read_bytes() == before


def test_tables_of_a_newer_version_are_refused(tmp_path):
    path = tmp_path / "c.sqlite"
    Sqlite(str(path)).open().close()
    newer = apsw.Connection(str(path))
    newer.execute("PRAGMA user_version=7")
    newer.close()
    assert refusal(path) == (
        f"store.path ({path}): its tables have version 7, and this program knows up to 3. "
        "Update vllm-flow, or name another file."
    )


def test_an_empty_file_becomes_a_store(tmp_path):
    path = tmp_path / "c.sqlite"
    path.touch()
    store = Sqlite(str(path)).open()
    answered(store, 1, "first")
    store.close()


def test_what_is_deleted_is_not_in_the_file_any_more(tmp_path):
    path = tmp_path / "c.sqlite"
    store = Sqlite(str(path)).open()
    for number in range(1, 9):
        answered(store, number, f"harmless {number}")
        answered(store, number, f"Xylophonist{number} 机密", conversation="bob", secret=f"Quetzalcoatl{number}")
    store.begin(asked(9, "Zygomorphic", "bob"))
    store.undo("bob")
    store.set_title("bob", "Kwashiorkor")
    words = [b"ylophonist", b"uetzalcoatl", b"ygomorphic", b"washiorkor", "机密".encode()]

    def there() -> list[bytes]:
        content = b"".join(one.read_bytes() for one in tmp_path.iterdir()).replace(rb"\u673a\u5bc6", "机密".encode())
        return [word for word in words if word in content]

    assert there() == words
    store.delete("bob")
    assert there() == []
    assert len(store.turns("ann")) == 8
    store.close()
    assert there() == []


def test_opening_deletes_what_is_older_than_keep_days_and_says_so(tmp_path, caplog):
    path = tmp_path / "c.sqlite"
    store = Sqlite(str(path)).open()
    answered(store, 1, "first")
    kept = store.dump("ann")
    for name, days in (("b", 29), ("c", 31), ("d", 400)):
        turns = tuple(replace(one, turn=replace(one.turn, conversation=name)) for one in kept.turns)
        store.load(replace(kept, name=name, turns=turns, written=kept.written - timedelta(days=days)))
    store.close()
    for keep_days, left, said in ((None, "dcba", ""), (30, "ba", "30 days (store.keep_days): d, c"), (30, "ba", "")):
        caplog.clear()
        store = Sqlite(str(path), keep_days=keep_days).open()
        assert [one.name[0] for one in store.conversations()] == list(left)
        assert [one.getMessage() for one in caplog.records] == (
            [f"{path}: deleted, since nothing was said for {said}"] if said else []
        )
        store.close()


def test_what_is_written_while_it_is_pruned_stays(tmp_path):
    path = str(tmp_path / "c.sqlite")
    store, other = Sqlite(path).open(), Sqlite(path).open()
    answered(store, 1, "first")
    before = store.conversations()[0].written + timedelta(milliseconds=1)
    assert [one.name for one in expired(store, before)] == ["ann"]
    time.sleep(0.005)
    answered(other, 2, "second")
    assert store.delete("ann", before) is False
    assert len(store.turns("ann")) == 2
    store.close()
    other.close()
