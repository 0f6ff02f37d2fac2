"""Recorded runs: the reader of what `record.py` writes, in this version and in those before.

A run that was killed has left a readable record: the last line of a file may be cut, and is then no line. Anything else
that is not as it was written is said, with its place, and never passed over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from vllm_flow.core.calls_kept import Lengthening
from vllm_flow.core.codec import turn_from_json
from vllm_flow.core.errors import RecordError, shown
from vllm_flow.core.json_checks import ALONG
from vllm_flow.core.media_of import MEDIA, content_in, with_content
from vllm_flow.core.spec import RunSpec, fingerprint_of
from vllm_flow.core.values import Turn

Row = dict[str, Any]
FORMATS = (1, 2)
"""1: without calls.jsonl, and so without what a recomputation could be compared with but the results."""
ASKED = ("conversation", "sample", "index", "history", "message", "reference", "tenant", *ALONG)
GIVE = "Give the folder of a run, or of one point of a sweep."


@dataclass(frozen=True)
class Recorded:
    """One run's folder, read."""

    folder: Path
    run: Mapping[str, Any]
    """run.json."""
    spec: RunSpec
    """What was run, by config.yaml."""
    problems: list[str] = field(default_factory=list, compare=False)
    """What was left out of what has been read, one line each."""

    @property
    def format(self) -> int:
        return int(self.run["format"])

    @property
    def has_calls(self) -> bool:
        return self.format > 1

    def results(self) -> list[Row]:
        """In input order, which a run that was killed had not put them into. Of two of one turn the later counts."""
        found = {int(row["index"]): row for row in self.rows("results.jsonl")}
        return [found[index] for index in sorted(found)]

    def events(self) -> Iterator[Row]:
        """In the order in which things happened."""
        return self.rows("events.jsonl")

    def calls(self) -> dict[int, Row]:
        """What each turn asked and was told, whole, by the turn's index. Empty in format 1."""
        values = {row["index"]: row["value"] for row in self.results()}
        found: dict[int, Row] = {}
        lengthen = Lengthening()
        for number, row in enumerate(self.rows("calls.jsonl") if self.has_calls else (), start=1):
            try:
                found[int(row["index"])] = lengthen(row, values.get(row["index"]))
            except (KeyError, TypeError, ValueError) as error:
                raise _broken(self.folder / "calls.jsonl", number, f"no row of calls ({error})") from error
        return found

    def turn(self, row: Row) -> Turn:
        """The turn that a row of results answers, with what it shows. Raises RecordError."""
        try:
            return with_content(turn_of(row), content_in(self.folder / MEDIA))
        except OSError as error:
            where = f"{self.folder / MEDIA}: what row {row.get('index')} shows"
            raise RecordError(f"{where} cannot be read: {error.strerror or error}. {GIVE}") from error
        except (KeyError, TypeError, ValueError) as error:
            raise _broken(
                self.folder / "results.jsonl", None, f"row {row.get('index')} is no turn ({error})"
            ) from error

    def rows(self, name: str) -> Iterator[Row]:
        """See `rows_of`; a line that was cut is told in `problems`."""
        return rows_of(self.folder / name, self._cut)

    def _cut(self, place: str) -> None:
        told = f"{place}: the last line is cut off, and was left out."
        if told not in self.problems:
            self.problems.append(told)


def turn_of(row: Row) -> Turn:
    """The turn that a row of results answers. Raises KeyError, TypeError or ValueError for what is no result."""
    kept = {name: row[name] for name in ASKED if name in row}
    return turn_from_json({**kept, "number": row["turn"]})


def rows_of(path: Path, cut: Callable[[str], None] | None = None) -> Iterator[Row]:
    """The lines of a record's file, one at a time; none where there is no file. Raises RecordError.

    A last line without its end was cut by a kill, and is left out; `cut` is told where it stands.
    """
    try:
        with path.open("rb") as file:  # as bytes, so that only a newline ends a line: a text may hold U+2028
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield _row(path, number, line)
                elif cut is not None:
                    cut(f"{path}:{number}")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RecordError(f"{path}: it cannot be read: {error.strerror or error}. {GIVE}") from error


def newest_below(folder: Path, *names: str) -> str:
    """For a message: the folder below this one that has such a file and was written last, if there is one."""
    patterns = [f"{'*/' * depth}{name}" for depth in (1, 2, 3) for name in names]
    found = [path.parent for pattern in patterns for path in folder.glob(pattern)]
    # A sweep, and no point of it.
    whole = [one.parent if any((one.parent / name).exists() for name in names) else one for one in found]
    newest = max(whole, key=lambda one: one.stat().st_mtime, default=None)
    return f" The newest below it: {newest}." if newest else ""


def read(folder: Path) -> Recorded:
    """The record in a folder. Raises RecordError for what is none, or was written by a later version."""
    run = _run(folder)
    if run.get("format") not in FORMATS:
        known = " and ".join(map(str, FORMATS))
        what = f"the record has format {shown(run.get('format'))}, and this version reads {known}"
        raise RecordError(f"{folder}: {what}. Read it with the version that wrote it, or a later one.")
    return Recorded(folder, run, _spec(folder, run.get("fingerprint")))


def _run(folder: Path) -> Mapping[str, Any]:
    try:
        run = json.loads((folder / "run.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        what = "there is no run.json in it" if folder.is_dir() else "there is no such folder"
        raise RecordError(f"{folder}: {what}. {GIVE}{newest_below(folder, 'run.json')}") from None
    except OSError as error:
        raise RecordError(f"{folder}: run.json cannot be read: {error.strerror or error}. {GIVE}") from error
    except ValueError as error:
        raise RecordError(f"{folder}: run.json is not as it was written: {error}. {GIVE}") from error
    if not isinstance(run, dict):
        raise RecordError(f"{folder}: run.json is not as it was written: it is no mapping. {GIVE}")
    return run


def _spec(folder: Path, fingerprint: Any) -> RunSpec:
    try:
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a sweep has many of them
        content = yaml.load((folder / "config.yaml").read_bytes(), loader)  # noqa: S506  a safe one
        if not isinstance(content, dict):
            raise TypeError("it is no mapping")
        if strange := sorted({*content} - {one.name for one in fields(RunSpec) if not one.metadata}):
            what = f"this version knows no key '{strange[0]}'. Read the record with the one that wrote it"
            raise RecordError(f"{folder / 'config.yaml'}: {what}.")
        spec = RunSpec(**content)
        same = fingerprint_of(content) == fingerprint  # of what is written: a later version may know more keys
    except OSError as error:
        raise RecordError(f"{folder}: config.yaml cannot be read: {error.strerror or error}. {GIVE}") from error
    except (TypeError, ValueError, yaml.YAMLError) as error:
        first = str(error).partition("\n")[0]
        raise RecordError(f"{folder}: config.yaml is not as it was written: {first}. {GIVE}") from error
    if not same:
        what = "config.yaml is not what was run: run.json has another fingerprint"
        raise RecordError(f"{folder}: {what}. Put it back as it was; to change a value: replay --change key=value.")
    return spec


def _row(path: Path, number: int, line: bytes) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _broken(path, number, f"no JSON ({error})") from error
    if not isinstance(row, dict):
        raise _broken(path, number, "no mapping")
    return row


def _broken(path: Path, number: int | None, what: str) -> RecordError:
    place = f"{path}:{number}" if number else str(path)
    return RecordError(f"{place}: {what}. Take the file as the run wrote it.")
