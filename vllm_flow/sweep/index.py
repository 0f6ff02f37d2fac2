"""The index of a sweep, `sweep.json` in its folder: which points there are, how they were asked for, and how it ended.

It is written before the first point begins, so that a sweep that is killed can be gone on with.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from vllm_flow.core.errors import RecordError

FILE = "sweep.json"
FORMAT = 1


@dataclass(frozen=True)
class Listed:
    """One point as the index has it."""

    folder: str
    """Below the sweep's folder."""
    overrides: tuple[str, ...]
    fingerprint: str
    """Of its RunSpec."""


@dataclass
class Index:
    """Writes the index; a `with` around the sweep finishes it as the sweep ended."""

    folder: Path
    points: list[Listed]
    baseline: int = 0
    """Which point the others are compared with."""
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
            points = [Listed(one["folder"], tuple(one["overrides"]), one["fingerprint"]) for one in found.pop("points")]
            return cls(folder, points, **found)
        except (FileNotFoundError, NotADirectoryError):
            raise RecordError(f"{folder}: there is no {FILE} in it. Name the folder of a sweep.") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path}: it cannot be read ({error}). Name the folder of another sweep.") from None

    def add(self, points: Sequence[Listed]) -> None:
        """More points, found while the sweep goes on."""
        self.points.extend(points)
        self.write()

    def write(self) -> None:
        points = [
            {"folder": one.folder, "overrides": one.overrides, "fingerprint": one.fingerprint} for one in self.points
        ]
        names = ("status", "started", "finished", "directory", "project", "baseline")
        content = {"format": FORMAT, **{name: getattr(self, name) for name in names}, "points": points}
        beside = self.folder / f".{FILE}.new"
        try:
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
            beside.replace(self.folder / FILE)
        except OSError as error:
            where = f"{self.folder}: the index of the sweep cannot be written: {error.strerror}"
            raise RecordError(f"{where}. Free space, or choose another folder: hydra.sweep.dir.") from error

    def __enter__(self) -> Self:
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


def varied(overrides: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """Of each point the keys that are not the same at all points, with their values as they were written."""
    said: list[dict[str, str]] = []
    for lines in overrides:
        pairs = (line.lstrip("+").partition("=") for line in lines)
        said.append({key: value for key, equals, value in pairs if equals})
    keys = [key for key in dict.fromkeys(key for one in said for key in one) if len({one.get(key) for one in said}) > 1]
    return [{key: one[key] for key in keys if key in one} for one in said]
