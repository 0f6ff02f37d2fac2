"""A folder of documents as a library: passages to look something up in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from vllm_flow.core.errors import SourceError, listed
from vllm_flow.core.library import Library
from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.places import files_below, found
from vllm_flow.core.registry import stage
from vllm_flow.core.segments import Item
from vllm_flow.sources.chunks import chunks
from vllm_flow.sources.documents import can_read, parts_of

State = tuple[tuple[str, int, int], ...]
"""Of each file its name, size and time of change: what decides whether anything is read anew."""


@stage("source/folder", blocking=True)
@dataclass(frozen=True)
class Folder:
    """All documents below a folder, cut into passages, each with its file and line, or page.

    Hidden files are left out, and so are those with other endings. A file that has changed is read anew in the next
    turn. A document that cannot be read fails the turn: an answer that silently lacks it would be worse.
    """

    path: str
    roots: tuple[str, ...] = ()
    """Folders outside of the working directory in which it may lie."""
    endings: tuple[str, ...] = (".md", ".txt")
    """Of the files that are read; .pdf may be added."""
    passage: Annotated[int, at_least(100)] = 800
    """How many characters a passage has at most."""
    overlap: Annotated[int, at_least(0)] = 150
    """With how many characters at most, in whole paragraphs, a passage repeats the end of the one before."""
    max_files: Annotated[int, at_least(1)] = 2_000
    max_bytes: Annotated[int, at_least(1)] = 1_000_000
    """How long a file may be."""
    max_total_bytes: Annotated[int, at_least(1)] = 16_000_000
    """How long all files together may be."""

    def problems(self) -> Iterator[OptionProblem | str]:
        for place, ending in enumerate(self.endings):
            if problem := can_read(Path(f"x{ending}")):
                yield OptionProblem(("endings", str(place)), problem)
        if self.overlap * 2 > self.passage:
            yield OptionProblem(("overlap",), f"it is more than half of a passage. Choose at most {self.passage // 2}.")
        try:
            self._state()
        except SourceError as error:
            yield OptionProblem(("path",), str(error))

    def run(self) -> Library:
        folder, state = self._state()
        return _library(self, folder, state)

    def _state(self) -> tuple[Path, State]:
        """Raises SourceError for a folder that is not there, is empty, or too large."""
        folder = found(self.path, self.roots)
        if not folder.is_dir():
            raise SourceError(f"{self.path}: it is a file. Name a folder, or use source/files.")
        kept = []
        for path in files_below(folder, self.endings):
            state = path.stat()
            kept.append((path.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns))
            if len(kept) > self.max_files:
                raise SourceError(f"{self.path}: it has more than {self.max_files} documents. Raise max_files.")
        if not kept:
            raise SourceError(f"{self.path}: no file in it ends in {listed(self.endings)}. Name another folder.")
        if (total := sum(size for _, size, _ in kept)) > self.max_total_bytes:
            what = f"its documents have {total} bytes, and max_total_bytes is {self.max_total_bytes}"
            raise SourceError(f"{self.path}: {what}. Raise it, or choose fewer documents.")
        return folder, tuple(kept)


@lru_cache(maxsize=8)
def _library(options: Folder, folder: Path, state: State) -> Library:
    return Library.of(item for name, *_ in state for item in _passages(options, folder / name, name))


def _passages(options: Folder, path: Path, name: str) -> Iterator[Item]:
    for part in parts_of(path, name, options.max_bytes):
        for one in chunks(part.text, options.passage, options.overlap):
            yield Item(one.text, part.source(name, one.line))
