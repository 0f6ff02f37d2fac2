"""Turns from a file of JSON lines: the form of a data set, read as it is needed and never whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path

from vllm_flow.core.errors import InputError, nearest
from vllm_flow.core.registry import source
from vllm_flow.core.values import BadRow, Turn
from vllm_flow.inputs.rows import LOOKED_AT, lines_of, read_rows

SHOWN = 8
"""How many files of a folder an error lists."""


@source("input/jsonl")
@dataclass(frozen=True)
class JsonLines:
    """Rows of a file, each with messages, or with a conversation and a text.

    `{"id": "q1", "messages": [{"role": "user", "content": "Hi"}]}` is a conversation of its own: the last message is
    the turn, those before it its history. Without `id` it is named `row-` and its line number.
    `{"conversation": "c1", "text": "Hi"}` is one turn of several; file order is turn order, and `turn` may number it.
    `parts`, or a list as `content`, holds `{"text": …}`. Blank lines and a byte order mark are skipped.
    """

    path: str
    """UTF-8; `~` is the home folder."""

    def turns(self) -> Iterator[Turn | BadRow]:
        """Raises InputError on the first step when the file cannot be read. A row at fault is a BadRow."""
        with self._open() as stream:
            lines = lines_of(stream, self.path)
            items = read_rows(lines, self.path)
            while True:
                try:
                    item = next(items, None)
                except OSError as error:
                    raise InputError(f"{self.path}: reading stopped ({error.strerror}). Look at the disk.") from None
                if item is None:
                    return
                yield item

    def _open(self) -> BufferedReader:
        try:
            return BufferedReader(FileIO(Path(self.path).expanduser()), LOOKED_AT)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{self.path}: {_missing(Path(self.path).expanduser())}") from None
        except IsADirectoryError:
            files = _files(Path(self.path).expanduser())
            raise InputError(f"{self.path or '.'}: it is a folder. Name a file. {_listed(files)}") from None
        except PermissionError:
            raise InputError(f"{self.path}: no permission to read it. Grant it, or name another file.") from None
        except (OSError, ValueError, RuntimeError) as error:  # a zero byte, a name too long, ~nobody
            raise InputError(f"{self.path!r}: it cannot be opened ({error}). Name another file.") from None


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
    """Rows first: among many files those that end in .jsonl are meant."""
    ordered = sorted(files, key=lambda name: not name.endswith(".jsonl"))
    more = ", …" if len(ordered) > SHOWN else ""
    return f"Files in its folder: {', '.join(ordered[:SHOWN]) or 'none'}{more}."
