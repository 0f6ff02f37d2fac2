"""Places: which files may be read at all. What a configuration names lies in the working directory, or in a folder that
it declares; a link that leads out of there leads nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vllm_flow.core.errors import SourceError, nearest

SHOWN = 8
"""How many files of a folder an error lists."""


def found(given: str, roots: tuple[str, ...]) -> Path:
    """The file or folder, resolved. Raises SourceError when it is not there, or outside of every root."""
    path, inside = _resolved(given), [_resolved(one) for one in (".", *roots)]
    if not any(path.is_relative_to(root) for root in inside):
        what = "it lies outside of the working directory"
        raise SourceError(f"{given}: {what}. Move it here, or name the folder it is in under roots.")
    try:
        problem = "" if path.exists() else _missing(path)
    except OSError as error:  # a name that is too long, a folder that nobody may look into
        problem = f"it cannot be looked at ({error.strerror}). Name a place that can be read."
    if problem:
        raise SourceError(f"{given}: {problem}")
    return path


def _resolved(given: str) -> Path:
    try:
        return Path(given).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a circle of links, ~nobody, a zero byte
        what = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
        raise SourceError(f"{given!r}: there can be no such place ({what}). Write another path.") from None


def _missing(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder '{path.parent}'. Name a place that exists."
    there = sorted(one.name for one in path.parent.iterdir() if not one.name.startswith("."))
    more = ", …" if len(there) > SHOWN else ""
    return f"there is no such place.{nearest(path.name, there)} There: {', '.join(there[:SHOWN]) or 'nothing'}{more}."


def files_below(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """The files with these endings, in order of their names, without hidden ones.

    Raises SourceError for a link that leads out.
    """
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if name.startswith(".") or path.suffix.lower() not in endings:
                continue
            if not path.resolve().is_relative_to(folder):
                what = f"it is a link that leads out of {folder.name}"
                raise SourceError(f"{path.relative_to(folder).as_posix()}: {what}. Put the file itself there.")
            yield path
