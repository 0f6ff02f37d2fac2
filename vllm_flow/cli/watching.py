"""What a person sees of points while they run: of one its answers, of many a table that grows.

Answers go to stdout and everything else to stderr, of a sweep as of a single run. With `--json` a sweep's lines carry
the point they belong to.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vllm_flow.cli.screen import Screen
from vllm_flow.cli.words import is_terminal, json_line, visible
from vllm_flow.core.events import Event, Inferred, Observer, Opened, TurnDone
from vllm_flow.core.record import Record
from vllm_flow.core.record_rows import result_row
from vllm_flow.core.results import Result
from vllm_flow.core.surroundings import unsteady
from vllm_flow.core.ways import Ways
from vllm_flow.sweep.index import swept_in, varied
from vllm_flow.sweep.points import Outcome, Point

Said = Callable[[Record], str]
"""What is to be said of the project's files before the first turn; empty for nothing."""
ROWS = 24
"""How many points the table shows at once."""
WHOLE = 24
"""Up to so many answers in all, a sweep prints them; else they are in the records only."""


class OneWatch:
    """A single run: its answers as they come, and where the record is."""

    def __init__(self, as_json: bool, warning: Said) -> None:
        self._screen = Screen(as_json=as_json)
        self._warning = warning

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, point: Point, record: Record) -> Sequence[Observer]:
        if warning := self._warning(record):
            self._screen.status(warning)
        return (self._screen,)

    def end(self, outcome: Outcome) -> None:
        self._screen.say_ways()
        if outcome.status == "finished":
            self._screen.status(f"\n{summary(outcome.answered, outcome.failed)}: {shown(outcome.folder)}")


@dataclass
class _Row:
    """One point in the table."""

    title: str
    status: str = "waiting"
    turns: int = 0
    failed: int = 0
    tokens: int = 0
    begun: float = 0.0
    seconds: float = 0.0

    @property
    def cells(self) -> tuple[str, ...]:
        rate = f"{self.tokens / self.seconds:.0f}" if self.seconds > 0 else ""
        return (self.title, str(self.turns), str(self.failed or ""), str(self.tokens), rate, self.status)


class SweepWatch:
    """A sweep: a live table on a terminal, else a line for each point that ends; failures as they happen."""

    def __init__(self, points: Sequence[Point], as_json: bool, warning: Said) -> None:
        pairs = (f"{point.folder.name}: " + " ".join(f"{key}={value}" for key, value in one.items())
                 for point, one in zip(points, varied([one.overrides for one in points]), strict=True))  # fmt: skip
        self._rows = {one.folder: _Row(title.rstrip(": ")) for one, title in zip(points, pairs, strict=True)}
        self._as_json, self._warning = as_json, warning
        self._said: dict[Path, list[Result]] = {one.folder: [] for one in points}
        self._answers = 0
        self._reasons: set[str] = set()
        self._ways = Ways()
        self._live: Any = None
        self._ended = self._finished = 0

    def __enter__(self) -> Self:
        self._say(f"{len(self._rows)} points: {self._folder}")
        if is_terminal(sys.stderr):
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, highlight=False)
            self._live = Live(get_renderable=self._table, console=console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
        for line in self._ways.lines():
            self._say(line)
        if error is None:
            self._print_answers()
        else:
            said = f"{self._finished} of {len(self._rows)} points finished"
            self._say(f"{said}. Go on with: vllm-flow resume {shlex.quote(self._folder)}")

    @property
    def _folder(self) -> str:
        """Of the sweep, as the user would type it."""
        return shown(swept_in(self._rows))

    def begin(self, point: Point, record: Record) -> Sequence[Observer]:
        if warning := self._warning(record):
            self._say(warning)
        row = self._rows[point.folder]
        row.status, row.begun = "running", time.perf_counter()
        row.turns, row.failed = record.answered + record.failed, record.failed

        def hear(event: Event) -> None:
            row.seconds = time.perf_counter() - row.begun
            if isinstance(event, Opened):
                self._say_unsteady(event.resources)
            elif isinstance(event, Inferred):
                row.tokens += event.usage.completion_tokens or 0
            elif isinstance(event, TurnDone):
                row.turns += 1
                self._done(point, row, event.result)

        return (hear, partial(self._ways, run=point.folder))

    def end(self, outcome: Outcome) -> None:
        row = self._rows[outcome.folder]
        row.status = outcome.status
        self._ended += 1
        self._finished += outcome.status == "finished"
        if outcome.status == "finished" and self._live is None:
            place = f"[{self._ended}/{len(self._rows)}] {row.title}"
            self._say(f"{place}: {summary(outcome.answered, outcome.failed)}, {row.seconds:.1f} s")

    def _done(self, point: Point, row: _Row, result: Result) -> None:
        if self._as_json:
            print(json_line({"point": point.folder.name, **result_row(result)}), flush=True)
        self._answers += 1
        if self._answers <= WHOLE:
            self._said[point.folder].append(result)
        if result.failure is not None:
            row.failed += 1
            self._say(f"{row.title}: turn {result.turn.number} of {result.turn.conversation} failed: "
                      f"{result.failure.message}")  # fmt: skip

    def _say_unsteady(self, resources: Mapping[str, Mapping[str, Any]]) -> None:
        """Once for each reason: points of such an engine may differ by luck as well."""
        for reason in unsteady(resources):
            if reason not in self._reasons:
                self._reasons.add(reason)
                self._say(f"{reason}. A point that is run alone may give other answers.")

    def _print_answers(self) -> None:
        """Point by point and in the input's order, whatever came first."""
        if self._as_json or self._answers > WHOLE:
            return
        for folder, results in self._said.items():
            if results:
                self._say(f"\n{self._rows[folder].title}")
            for result in sorted(results, key=lambda one: one.turn.index):
                if result.failure is None:
                    print(visible(result.text) if is_terminal(sys.stdout) else result.text, flush=True)

    def _table(self) -> Any:
        from rich.table import Table

        rows = list(self._rows.values())
        active = [one for one in rows if one.status != "waiting"]
        left = len(rows) - self._ended
        table = Table("point", "turns", "failed", "tokens", "tok/s", f"{self._ended} done, {left} left", box=None)
        for one in (active or rows)[-ROWS:]:
            table.add_row(*one.cells)
        return table

    def _say(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(visible(text), markup=False)
        else:
            print(visible(text), file=sys.stderr, flush=True)


def summary(answered: int, failed: int) -> str:
    """`3 turns answered`, `1 turn answered, 2 failed`."""
    said = f"{answered} turn{'' if answered == 1 else 's'} answered"
    return f"{said}, {failed} failed" if failed else said


def shown(folder: Path) -> str:
    """A folder as the user would type it from here."""
    return os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)
