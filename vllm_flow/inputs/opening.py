"""Opening a file of rows, and what is said of one that cannot be opened: which are there, and which was meant."""

from __future__ import annotations

from io import BufferedReader, FileIO
from pathlib import Path

from vllm_flow.core.errors import InputError, nearest

LOOKED_AT = 1 << 16
"""How many bytes are read at a time; those of a file's beginning decide whether it is UTF-8 text at all."""
SHOWN = 8
"""How many files of a folder an error lists."""
ENDINGS = (".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")


def ending(path: str) -> str:
    """What decides how a file is read, in small letters: `.csv`; empty for a name without one, as pipes have."""
    return Path(path).suffix.lower()


def open_bytes(given: str) -> BufferedReader:
    """The file, unread. Raises InputError."""
    try:
        return BufferedReader(FileIO(Path(given).expanduser()), LOOKED_AT)
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{given}: {_missing(Path(given).expanduser())}") from None
    except IsADirectoryError:
        files = _files(Path(given).expanduser())
        raise InputError(f"{given or '.'}: it is a folder. Name a file. {_listed(files)}") from None
    except PermissionError:
        raise InputError(f"{given}: no permission to read it. Grant it, or name another file.") from None
    except (OSError, ValueError, RuntimeError) as error:  # a zero byte, a name too long, ~nobody
        raise InputError(f"{given!r}: it cannot be opened ({error}). Name another file.") from None


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder '{path.parent}'. Name a file that exists."
    files = _files(path.parent)
    return f"there is no such file.{nearest(path.name, files)} {_listed(files)}"


def _files(folder: Path) -> list[str]:
    try:
        return sorted(one.name for one in folder.iterdir() if one.is_file() and not one.name.startswith("."))
    except OSError:
        return []


def _listed(files: list[str]) -> str:
    """Rows first: among many files those that can be read are meant."""
    ordered = sorted(files, key=lambda name: ending(name) not in ENDINGS)
    more = ", …" if len(ordered) > SHOWN else ""
    return f"Files in its folder: {', '.join(ordered[:SHOWN]) or 'none'}{more}."
