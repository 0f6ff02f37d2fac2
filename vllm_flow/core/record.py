"""The record: a run's folder, written as things happen, so that a killed run leaves a readable one.

`results.jsonl` holds only what the request determines, so the same request gives the same bytes; what depends on the
machine and the batch goes to `timings.jsonl`, what each turn asked and was told to `calls.jsonl`, and what happened, in
order, to `events.jsonl`. Images and sounds are files in `media`, named by their digests. `recorded.py` reads it all.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import yaml

from vllm_flow.core.calls import Calls, Row
from vllm_flow.core.calls_kept import Shortening
from vllm_flow.core.errors import RecordError
from vllm_flow.core.events import Committed, Event, Inferred, NodeDone, Opened, Reconfigured, TurnDone, TurnStarted
from vllm_flow.core.files import ELSEWHERE, held, private_file, replaced
from vllm_flow.core.ledger import Ledger
from vllm_flow.core.media_of import MEDIA, Shelf, media_in, media_of
from vllm_flow.core.record_rows import commits_row, result_row, shown, timing_row, turn_key
from vllm_flow.core.results import Result
from vllm_flow.core.revision import Revision, Revisions
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.surroundings import surroundings
from vllm_flow.core.unfinished import Unfinished
from vllm_flow.core.values import Context, Prompt

FORMAT = 2
FILES = ("results", "timings", "events", "calls")
Status = Literal["finished", "failed", "interrupted"]


class Record:
    """Writes one run's folder; an observer. A `with` around the run finishes it as the run ended.

    Raises RecordError when the folder cannot be written: a run without its record is not worth its time.
    One process writes a folder at a time. With `resume` what is in it goes on, and `unfinished` is that, or None; with
    `retry_errors` failed turns are to be answered again. `revised` tells the revision of the project, and `about` is
    written into run.json beside what is known of every run. Records with one `shelf` keep each medium once.
    """

    def __init__(
        self,
        folder: Path,
        spec: RunSpec,
        *,
        resume: bool = False,
        retry_errors: bool = False,
        revised: Callable[[RunSpec], Revision | None] | None = None,
        about: Mapping[str, Any] | None = None,
        shelf: Shelf | None = None,
    ) -> None:
        self.folder = folder
        self._shelf = shelf or Shelf()
        self.revision = (revised or Revisions())(spec)
        self._last_index = -1
        self._commits: dict[tuple[str, int | None], list[Committed]] = {}
        with ExitStack() as undoing:
            try:
                if not resume:
                    refuse_used(folder)  # before a file is made in it
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._lock = held(folder, "run.json", "config.yaml", "results.jsonl")
                undoing.callback(self._lock.release)
                self.unfinished = Unfinished.read(folder, retry_errors) if resume else None
                self._begin(spec, about or {})
            except OSError as error:
                raise _refused(folder, error) from error
            undoing.pop_all()

    def _begin(self, spec: RunSpec, about: Mapping[str, Any]) -> None:
        before = self.unfinished
        self.failed = before.failed if before else 0
        self.answered = len(before.done) - self.failed if before else 0
        self.stored = before.stored if before else 0
        self._in_order = before is None
        if before is None:
            refuse_used(self.folder)
            self._write("config.yaml", _yaml(spec.content()))
        else:
            before.cut_lines()
        self._run = self._beginning(spec) | dict(about)
        if before is not None:
            self._run |= before.gone_on_with(self._run)
        self._write_run()  # from here on it can be gone on with
        self._files = {name: private_file(self.folder / f"{name}.jsonl") for name in FILES}
        self._shorten, self._calls = Shortening(), Calls(self._write_calls)

    def __call__(self, event: Event) -> None:
        try:
            self._note(event)
        except OSError as error:
            raise _refused(self.folder, error) from error
        except ValueError as error:
            raise RecordError(f"{self.folder}: a value cannot be recorded: {error}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)

    def end(self, error: BaseException | None) -> None:
        """`finish` with the status that this means: nothing, an interruption, or what went wrong."""
        if error is None:
            self.finish("finished")
        elif isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
            self.finish("interrupted")
        else:
            self.finish("failed", str(error) or type(error).__name__)

    def finish(self, status: Status, error: str | None = None) -> None:
        """Put the results into input order and close the folder. Raises RecordError, with status `failed`."""
        refused: RecordError | None = None
        try:
            with ExitStack() as closing:
                for file in self._files.values():
                    closing.callback(file.close)
                self._calls.finish()
            if not self._in_order:
                self._sort_results()
        except OSError as problem:
            refused = _refused(self.folder, problem)
            status, error = "failed", error or str(refused)
        self._run |= {"status": status, "error": error, "finished": _now()}
        try:
            self._write_run()
        except OSError as problem:
            refused = refused or _refused(self.folder, problem)
        finally:
            self._lock.release()
        if refused is not None:
            raise refused

    def _note(self, event: Event) -> None:
        self._calls(event)
        match event:
            case Opened(resources):
                self._run["resources"] = dict(resources)
                self._write_run()
            case Reconfigured(change, spec):
                row = {"event": "reconfigured", "change": change, "fingerprint": spec.fingerprint, "at": _now()}
                self._line("events", row)
            case TurnStarted(turn):
                self._shelf.keep(media_of(turn).values(), self.folder / MEDIA)
                self._line("events", {"event": "turn started", "index": turn.index, **turn_key(turn), "at": _now()})
            case NodeDone(turn, node, Context() as context):
                told = {"messages": len(context.messages), "dropped": context.dropped}
                self._line("events", {"event": "context", **turn_key(turn), "node": node, **told})
            case NodeDone(turn, node, Prompt(ledger=Ledger(left_out=gone))) if gone:
                rows = [one.row() for one in gone]
                self._line("events", {"event": "prompt", **turn_key(turn), "node": node, "left_out": rows})
            case Committed(turn=turn):
                self._commits.setdefault((turn.conversation, turn.number), []).append(event)
            case Inferred():
                self._line("timings", timing_row(event))
            case TurnDone(result, seconds):
                self._done(result, seconds)

    def _done(self, result: Result, seconds: float) -> None:
        self._in_order = self._in_order and result.turn.index > self._last_index
        self._last_index = result.turn.index
        self.failed += result.failure is not None
        self.stored += result.stored
        self.answered += result.failure is None
        if kept := self._commits.pop((result.turn.conversation, result.turn.number), None):
            self._line("commits", commits_row(result, kept))  # before the result: a result is a turn that is done
        self._shelf.keep(media_in(result.value), self.folder / MEDIA)
        self._line("results", result_row(result))
        kind = "turn failed" if result.failure else "turn served from the store" if result.stored else "turn done"
        told = {"index": result.turn.index, "at": _now(), "seconds": round(seconds, 6), **shown(result)}
        self._line("events", {"event": kind, **turn_key(result.turn), **told})

    def _write_calls(self, row: Row, result: Result | None) -> None:
        self._line("calls", self._shorten(row, result))

    def _line(self, name: str, row: Mapping[str, Any]) -> None:
        if name not in self._files:  # a file that most runs do not need
            self._files[name] = private_file(self.folder / f"{name}.jsonl")
        file = self._files[name]
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.flush()

    def _sort_results(self) -> None:
        """Line by line: there may be more of them than fit into memory. Of two of one turn the later stays."""
        path, places, start = self.folder / "results.jsonl", dict[int, int](), 0
        with replaced(path) as in_order, path.open("rb") as file:
            for line in file:  # as bytes, so that only a newline ends it: a text may hold U+2028
                places[int(json.loads(line)["index"])] = start
                start += len(line)
            for _, place in sorted(places.items()):
                file.seek(place)
                in_order.write(file.readline().decode("utf-8"))

    def _beginning(self, spec: RunSpec) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "status": "running",
            "error": None,
            "pipeline": spec.name,
            "fingerprint": spec.fingerprint,
            "seed": spec.seed,
            "started": _now(),
            "finished": None,
            **surroundings(spec, self.revision),
            "origins": {".".join(path): origin for path, origin in spec.origins.items()},
        }

    def _write_run(self) -> None:
        self._run["turns"] = {"answered": self.answered, "failed": self.failed, "stored": self.stored}
        self._write("run.json", json.dumps(self._run, indent=1, ensure_ascii=False) + "\n")

    def _write(self, name: str, text: str) -> None:
        with replaced(self.folder / name) as file:
            file.write(text)


def refuse_used(folder: Path) -> None:
    """Nothing that is there is written over: another run's record, or a config.yaml of the user's own.

    Raises RecordError.
    """
    for name in ("run.json", "config.yaml"):
        if (folder / name).exists():
            raise RecordError(f"{folder}: there is a {name} in it already. Choose another folder: {ELSEWHERE}")


def _yaml(content: Any) -> str:
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # a sweep has many of them
    return str(yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True))


def _refused(folder: Path, error: OSError) -> RecordError:
    problem = f"the record cannot be written: {error.strerror or error}"
    return RecordError(f"{folder}: {problem}. Free space, or choose another folder: {ELSEWHERE}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
