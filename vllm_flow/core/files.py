"""Files that we write: their owner's alone, and what replaces another replaces it whole."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from vllm_flow.core.errors import RecordError

if TYPE_CHECKING:
    from filelock import FileLock

ESCAPED = "backslashreplace"
"""UTF-8 has no half surrogate pairs. So they are written as JSON escapes them."""
ELSEWHERE = "hydra.run.dir, or record=… in Python."


def private_file(path: Path) -> IO[str]:
    """A file to write on at its end, which only its owner may read, where the system knows owners."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    return os.fdopen(descriptor, "a", encoding="utf-8", errors=ESCAPED, newline="\n")


@contextmanager
def replaced(path: Path) -> Iterator[IO[str]]:
    """What is written takes the place of the file when the block ends well: a reader sees the old or the new one."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")  # of this writer alone
    try:
        with private_file(beside) as file:
            yield file
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def written_once(path: Path, data: bytes, twin: Path | None = None) -> None:
    """A file whose name says what is in it: it is there whole or not at all, and one that is there stays.

    Its folder is made, and none above that: a record that was deleted while it was written is not to come back in part.
    twin: where the same may lie already; then both names are of one file, if the file system can do that.
    """
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True, mode=0o700)
    if twin is not None:
        with suppress(OSError):  # it is gone by now, on another disk, or has as many names as there may be
            os.link(twin, path)
            return
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def held(folder: Path, *names: str) -> FileLock:
    """Keep other processes from writing into a folder, until it is released or the process ends. Raises RecordError.

    names: files that only the holder replaces; what a killed one was about to replace them with is taken away.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0, mode=0o600, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        problem = "another process is writing into it. Wait until that has ended, or choose another folder"
        raise RecordError(f"{folder}: {problem}: {ELSEWHERE}") from None
    for beside in (path for name in names for path in folder.glob(f".{name}.*.new")):
        beside.unlink(missing_ok=True)
    return lock


def new_folder(root: Path, name: str) -> Path:
    """`root/<date>/<time>-<name>-<id>`: the id because two runs may start in one second. Nothing is created."""
    now = datetime.now().astimezone()
    return root / f"{now:%Y-%m-%d}" / f"{now:%H-%M-%S}-{name}-{secrets.token_hex(4)}"
