"""Whole files as context: what is to be known in every turn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from vllm_flow.core.errors import SourceError
from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.places import found
from vllm_flow.core.registry import stage
from vllm_flow.core.segments import Item, Place, Segment, Share
from vllm_flow.sources.documents import can_read, parts_of


@stage("source/files", blocking=True)
@dataclass(frozen=True)
class Files:
    """Files, each whole, for the prompt: .md, .txt and .pdf.

    A file that has changed is read anew in the next turn. Of many or long files only what answers the question should
    be in a prompt: that is source/folder, with retrieve/dense or retrieve/bm25.
    """

    paths: tuple[str, ...]
    """In the order in which they are to stand."""
    roots: tuple[str, ...] = ()
    """Folders outside of the working directory from which files may be read, too."""
    heading: str = "Documents:"
    place: Place = "first"
    """first: before the history, where a prefix cache finds them again; last: before the question."""
    share: Share = field(default_factory=Share)
    """Of the prompt's tokens."""
    max_bytes: Annotated[int, at_least(1)] = 1_000_000
    """How long a file may be."""

    def problems(self) -> Iterator[OptionProblem]:
        for place, given in enumerate(self.paths):
            try:
                path = found(given, self.roots)
                problem = f"{given}: it is a folder. Name files." if path.is_dir() else ""
                problem = problem or (f"{given}: {why}" if (why := can_read(path)) else "")
            except SourceError as error:
                problem = str(error)
            if problem:
                yield OptionProblem(("paths", str(place)), problem)

    def run(self) -> Segment:
        items = tuple(_item(given, found(given, self.roots), self.max_bytes) for given in self.paths)
        return Segment("documents", items, self.heading, self.place, self.share)


def _item(given: str, path: Path, max_bytes: int) -> Item:
    state = path.stat()
    return _read(given, path, (state.st_size, state.st_mtime_ns), max_bytes)


@lru_cache(maxsize=64)
def _read(given: str, path: Path, _state: tuple[int, int], max_bytes: int) -> Item:
    text = "\n\n".join(part.text for part in parts_of(path, given, max_bytes) if part.text)
    return Item(text.strip(), given)
