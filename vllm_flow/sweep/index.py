"""The index of a sweep, `sweep.json` in its folder: which points there are, how they were asked for, and how it ended.

It is written before the first point begins, so that a sweep that is killed can be gone on with.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vllm_flow.core.differences import changed, changes
from vllm_flow.core.errors import RecordError
from vllm_flow.core.files import held, replaced
from vllm_flow.core.spec import RunSpec
from vllm_flow.sweep.points import Point

FILE = "sweep.json"
FORMAT = 1


@dataclass(frozen=True)
class Listed:
    """One point as the index has it."""

    folder: str
    """Below the sweep's folder."""
    overrides: tuple[str, ...]
    changes: tuple[tuple[tuple[str, ...], Any], ...]
    """What its configuration sets otherwise than that of the first point."""


@dataclass
class Index:
    """Writes the index; a `with` around the sweep finishes it as the sweep ended."""

    folder: Path
    points: list[Listed]
    content: Mapping[str, Any]
    """The configuration of the first point."""
    baseline: int = 0
    """Which point the others are compared with."""
    fail_fast: bool = False
    """Whether it stops at the first failure, also when it is gone on with."""
    status: str = "running"
    directory: str = field(default_factory=os.getcwd)
    """Where the command was called: paths in a configuration are relative to it."""
    project: str = ""
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    finished: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Index:
        """Raises RecordError where there is no index that can be read."""
        path = folder / FILE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if found.pop("format") != FORMAT:
                raise RecordError(f"{path}: another version wrote it. Use that one.")
            points = [_listed(one) for one in found.pop("points")]
            return cls(folder, points, **found)
        except (FileNotFoundError, NotADirectoryError):
            raise RecordError(f"{folder}: there is no {FILE} in it. Name the folder of a sweep.") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path}: it cannot be read ({error}). Name the folder of another sweep.") from None

    @classmethod
    def of(cls, folder: Path, points: Sequence[Point], baseline: int = 0, fail_fast: bool = False) -> Index:
        """The index of a sweep that is about to begin."""
        first = points[0].spec
        index = cls(folder, [], first.content(), baseline, fail_fast, project=first.project)
        index.points += map(index.listed, points)
        return index

    def listed(self, point: Point) -> Listed:
        """A point as this index has it."""
        below = point.folder.relative_to(self.folder) if point.folder.is_relative_to(self.folder) else point.folder
        made = tuple((path, value) for path, value in changes(self.content, point.spec.content()))
        return Listed(below.as_posix(), point.overrides, made)

    def spec(self, point: Listed) -> RunSpec:
        """What the point was to run, whatever the files of the project say by now."""
        return RunSpec(**changed(self.content, list(point.changes)), project=self.project)

    def write(self) -> None:
        points = [dataclasses.asdict(one) for one in self.points]
        names = ("status", "started", "finished", "directory", "project", "baseline", "fail_fast", "content")
        content = {"format": FORMAT, **{name: getattr(self, name) for name in names}, "points": points}
        try:
            with replaced(self.folder / FILE) as file:
                file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            where = f"{self.folder}: the index of the sweep cannot be written: {error.strerror}"
            raise RecordError(f"{where}. Free space, or choose another folder: hydra.sweep.dir.") from error

    def __enter__(self) -> Self:
        """Raises RecordError while another process runs the sweep."""
        self._lock = held(self.folder, FILE)
        self.status, self.finished = "running", None
        self.write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = isinstance(error, KeyboardInterrupt | asyncio.CancelledError)
        self.status = "interrupted" if stopped else "failed" if error or self.status == "failed" else "finished"
        self.finished = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            self.write()
        except RecordError:
            if error is None:
                raise
        finally:
            self._lock.release()


def swept_in(points: Iterable[Path]) -> Path:
    """The folder of the sweep that has these points: the nearest above all of them with an index, if there is one."""
    above = Path(os.path.commonpath(list(points)))
    return next((one for one in (above, *above.parents) if (one / FILE).exists()), above)


def refuse_swept(folder: Path) -> None:
    """A sweep is not written over another. Raises RecordError."""
    if (folder / FILE).exists():
        what = f"there is a sweep in it already. `vllm-flow resume {folder}` goes on with it"
        raise RecordError(f"{folder}: {what}; or choose another folder: hydra.sweep.dir.")


def _listed(data: Mapping[str, Any]) -> Listed:
    made = tuple((tuple(path), value) for path, value in data["changes"])
    return Listed(data["folder"], tuple(data["overrides"]), made)


def varied(overrides: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """Of each point the keys that are not the same at all points, with their values as they were written."""
    said: list[dict[str, str]] = []
    for lines in overrides:
        pairs = (line.lstrip("+").partition("=") for line in lines)
        said.append({key: value for key, equals, value in pairs if equals})
    keys = [key for key in dict.fromkeys(key for one in said for key in one) if len({one.get(key) for one in said}) > 1]
    return [{key: one[key] for key in keys if key in one} for one in said]
