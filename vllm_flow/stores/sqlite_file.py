"""The SQLite file under the store: how it is opened, what a transaction is, and SQLite's errors in our words.

apsw brings its own SQLite, because versions before 3.51.3 can corrupt a WAL file (https://sqlite.org/wal.html#walreset)
and Python's own is often older. Transactions are written out: in apsw's `with connection:` a full disk shows up as
"cannot rollback".
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import apsw

from vllm_flow.core.errors import StoreError
from vllm_flow.stores.sqlite_schema import APPLICATION_ID, VERSION, migrate


def open_database(path: Path, wait_s: float) -> apsw.Connection:
    """Open or make the file, ready for use by several processes. Raises StoreError."""
    with in_words(path, wait_s):
        _make(path)
        connection = apsw.Connection(str(path))
        try:
            _prepare(connection, path, wait_s)
        except BaseException:
            with suppress(apsw.Error):  # the first error is the one to tell
                connection.close()
            raise
        return connection


def _make(path: Path) -> None:
    """Make folder and file unless they are there, for their owner only: a conversation is private."""
    for folder in [one for one in reversed(path.parents) if not one.exists()]:
        folder.mkdir(mode=0o700, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _prepare(connection: apsw.Connection, path: Path, wait_s: float) -> None:
    connection.set_busy_timeout(round(wait_s * 1000))
    connection.execute("BEGIN")  # one moment for all it asks: another process may be making the tables
    version = _check_ours(connection, path)
    connection.execute("COMMIT")
    _use_wal(connection, wait_s)
    connection.execute("PRAGMA synchronous=FULL")  # a commit is on the disk when it returns
    connection.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten
    if version < VERSION:
        with transaction(connection):  # asked again, now that no other process can be making the tables
            migrate(connection, _check_ours(connection, path))


def _check_ours(connection: apsw.Connection, path: Path) -> int:
    """The version of the tables; 0 for an empty file."""
    version, owner, tables = (
        int(connection.execute(question).get)
        for question in ("PRAGMA user_version", "PRAGMA application_id", "SELECT count(*) FROM sqlite_schema")
    )
    if owner != APPLICATION_ID and (tables or version or owner):
        raise StoreError(f"{where(path)}: it is a database of another program. Name another file, or a new one.")
    if version > VERSION:
        raise StoreError(
            f"{where(path)}: its tables have version {version}, and this program knows up to {VERSION}. "
            "Update vllm-flow, or name another file."
        )
    return version


def _use_wal(connection: apsw.Connection, wait_s: float) -> None:
    """With a WAL, readers and the writer do not block each other.

    SQLite does not wait by itself when two processes switch to it at once.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            return
        except apsw.BusyError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)


def read_names(path: Path) -> dict[str, str]:
    """Conversations and their titles, the one written last first; nothing of a file that is not there, or not ours."""
    if not path.is_file():
        return {}
    try:
        with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
            rows = connection.execute("SELECT name, title FROM conversations ORDER BY written DESC").fetchall()
    except apsw.Error:
        return {}
    return {str(name): str(title) for name, title in rows}


@contextmanager
def transaction(connection: apsw.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """All or nothing; `DEFERRED` to read all as it was at one moment.

    On a fault the first error is raised, never the one of the rollback.
    """
    connection.execute(f"BEGIN {kind}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(apsw.Error):
            if connection.in_transaction:  # a full disk may have rolled back already
                connection.execute("ROLLBACK")
        raise


@contextmanager
def in_words(path: Path, wait_s: float) -> Iterator[None]:
    """Turn what SQLite and the file system raise into StoreError."""
    try:
        yield
    except (apsw.Error, OSError, ValueError) as error:
        raise StoreError(f"{where(path)}: {_problem(error, wait_s)}") from error


def where(path: Path) -> str:
    return f"store.path ({path})"


def _problem(error: Exception, wait_s: float) -> str:
    match error:
        case IsADirectoryError():
            return "it is a folder. Name a file, such as conversations.sqlite in it."
        case NotADirectoryError() | FileExistsError():
            return "a part of the path is a file, not a folder. Name a file in a folder."
        case PermissionError() | apsw.ReadOnlyError() | apsw.PermissionsError():
            return "no permission to write it or its folder. Grant it, or name another file."
        case apsw.CantOpenError():
            return f"it or a file beside it cannot be opened ({error}). Look at the permissions of file and folder."
        case apsw.FullError():
            return "the disk is full; nothing was stored. Free some space, then send the turn again."
        case apsw.BusyError() | apsw.LockedError():
            return f"locked by another process for over {wait_s:g} s. End that process, or name another file."
        case apsw.NotADBError():
            return "it is not a SQLite database. Name another file, or a new one."
        case apsw.CorruptError():
            return f"the file is damaged ({error}). Put back a copy, or save what is left with sqlite3's .recover."
        case apsw.IOError():
            return f"reading or writing failed ({error}). Look at the disk's health, free space and quota."
        case _:
            return f"it cannot be used ({type(error).__name__}: {error}). Name another file."
