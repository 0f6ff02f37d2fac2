"""Resume: what is left of a run or a sweep, and whether what would go on is still what began.

The recorded configuration is what goes on, never the files of today: those, and the code, are only compared with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from vllm_flow.core.differences import differences
from vllm_flow.core.errors import ConfigError, RecordError, told
from vllm_flow.core.recorded import newest_below, read
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.surroundings import code_of, versions
from vllm_flow.sweep.index import FILE, Index
from vllm_flow.sweep.points import Point
from vllm_flow.sweep.search import Found

Compose = Callable[[Sequence[str]], RunSpec]
"""The configuration that overrides choose today."""


@dataclass(frozen=True)
class Left:
    """A run or a sweep that can go on."""

    folder: Path
    directory: Path
    """Where it was started; paths are relative to it."""
    points: tuple[Point, ...]
    """Those that have not finished, or have failed turns that are to be answered again."""
    finished: int
    project: str
    index: Index | None
    """None for a single run."""
    searching: bool = False
    """Whether it is a search that has trials left."""
    first: Point | None = None
    """The first point, whether it has finished or not."""

    @classmethod
    def read(cls, folder: Path, retry_errors: bool = False) -> Left:
        """Raises RecordError for a folder that is neither."""
        folder = folder.absolute()
        index = Index.read(folder) if (folder / FILE).exists() else None
        all_points = list(_of_sweep(folder, index, retry_errors) if index else [_of_run(folder, retry_errors)])
        left = tuple(one for one in all_points if not _is_done(one))
        directory = index.directory if index else str(_run(folder).get("directory", ""))
        project = index.project if index else directory  # as Record has no other
        found = Found.read(folder)
        searching, first = found is not None and found.done < found.trials, next(iter(all_points), None)
        return cls(folder, Path(directory), left, len(all_points) - len(left), project, index, searching, first)

    def changed(self, compose: Compose) -> list[str]:
        """What differs from when it began, one line each; call it in `directory`."""
        found: dict[str, None] = {}
        others = (self.first,) if self.searching and self.first and not self.points else ()
        for point in (*self.points, *others):
            for line in (*_since(point), *_now(point, compose)):
                found[line] = None
        return list(found)


def _of_sweep(folder: Path, index: Index, retry_errors: bool) -> Iterator[Point]:
    for listed in index.points:
        yield Point(folder / listed.folder, listed.overrides, index.spec(listed), True, retry_errors)


def _of_run(folder: Path, retry_errors: bool) -> Point:
    run, overrides = _run(folder), folder / ".hydra" / "overrides.yaml"
    spec = replace(read(folder).spec, project=str(run.get("directory", "")))
    try:
        lines = yaml.safe_load(overrides.read_text(encoding="utf-8")) if overrides.exists() else ()
        return Point(folder, tuple(map(str, lines)), spec, True, retry_errors)
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise RecordError(f"{overrides}: it cannot be read ({error}). Name another run.") from None


def _run(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "run.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        what = f"there is no run.json or {FILE} in it" if folder.is_dir() else "there is no such folder"
        newest = newest_below(folder, "run.json", FILE)
        raise RecordError(f"{folder}: {what}. Name the folder of a run or a sweep.{newest}") from None
    except (OSError, ValueError) as error:
        raise RecordError(f"{folder / 'run.json'}: it cannot be read ({error}). Name another run.") from None


def _is_done(point: Point) -> bool:
    if not (point.folder / "run.json").exists():
        return False
    run = _run(point.folder)
    return run["status"] == "finished" and not (point.retry_errors and run["turns"]["failed"])


def _since(point: Point) -> Iterator[str]:
    """Code and versions, of a point that had begun."""
    if not (point.folder / "run.json").exists():
        return
    run = _run(point.folder)
    for name, now in (("code", code_of(point.spec)), ("versions", versions())):
        yield from _told(differences({name: run.get(name, {})}, {name: now}), short=name == "code")


def _now(point: Point, compose: Compose) -> Iterator[str]:
    if not point.overrides and not (point.folder / ".hydra").exists():
        return  # it was started from Python: there are no files to compare with
    try:
        today = compose(point.overrides)
    except ConfigError as error:
        yield f"the configuration is no longer sound: {told(error)}"
        return
    yield from _told(differences(point.spec.content(), today.content()))


def _told(found: Mapping[tuple[str, ...], tuple[str, str]], short: bool = False) -> Iterator[str]:
    for path, (then, now) in found.items():
        yield f"{'.'.join(path)}: another content" if short else f"{'.'.join(path)}: {then} → {now}"
