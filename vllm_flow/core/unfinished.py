"""Unfinished: what a run that did not end has already done, read from its folder, so that it can go on.

A row of `results.jsonl` is a finished turn, and the input must still say the same there. A turn that had begun keeps
the number it was given, so that a store that has it already does not hold it twice. What a store in memory had been
given is read back from `commits.jsonl`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vllm_flow.core.codec import completion_from_json, to_json
from vllm_flow.core.errors import RecordError
from vllm_flow.core.flow import Item, as_async
from vllm_flow.core.media_of import MEDIA, content_in, with_content
from vllm_flow.core.messages import user
from vllm_flow.core.recorded import Row, rows_of, turn_of
from vllm_flow.core.values import Completion, Turn

OTHER = "Give it the input that it began with, or begin another run."
DIGEST_BYTES = 8
SURROUNDINGS = ("code", "git", "versions", "platform")


@dataclass(frozen=True, slots=True)
class Commit:
    """What a store was given to keep."""

    store: str
    """The resource's name."""
    turn: Turn
    reply: Completion
    state: Mapping[str, Any]


@dataclass(frozen=True)
class Unfinished:
    """What is there of a run. Reading it changes nothing; `cut_lines` does, before it goes on."""

    folder: Path
    done: Mapping[int, bytes]
    """For the index of every turn that has its result, a digest of what was asked."""
    failed: int
    """How many of them are failures."""
    stored: int
    """How many were served from the store."""
    numbers: Mapping[int, int]
    """The number that each turn was given when it began, by its index."""

    @classmethod
    def read(cls, folder: Path, retry_errors: bool = False) -> Unfinished | None:
        """None where no run has begun. `retry_errors`: failed turns that nothing was built on are to be done again.

        Raises RecordError for what is no record.
        """
        if not (folder / "config.yaml").exists():  # the first file of a record
            return None
        try:
            rows = {int(row["index"]): _Kept(row) for row in rows_of(folder / "results.jsonl")}
            numbers, served = dict[int, int](), set[int]()
            for event in rows_of(folder / "events.jsonl"):
                if event["event"] == "turn started":
                    numbers[int(event["index"])] = event["turn"]
                elif event["event"] == "turn served from the store":
                    served.add(int(event["index"]))
        except (ValueError, KeyError, TypeError) as error:
            problem = f"{folder}: it cannot be gone on with ({error!r}). Run it again in another folder."
            raise RecordError(problem) from error
        again = _to_be_retried(rows) if retry_errors else set()
        kept = {index: row for index, row in rows.items() if index not in again}
        failed = sum(row.failed for row in kept.values())
        stored = len(served & kept.keys())
        return cls(folder, {index: row.asked for index, row in kept.items()}, failed, stored, numbers)

    def cut_lines(self) -> None:
        """Take away what a killed process had not written to the end of its line."""
        for file in self.folder.glob("*.jsonl"):
            with file.open("rb") as lines:
                whole = sum(len(line) for line in lines if line.endswith(b"\n"))
            os.truncate(file, whole)

    def gone_on_with(self, now: Mapping[str, Any]) -> dict[str, Any]:
        """For run.json: when it began, and each time when it was gone on with, and what was another before.

        now: what run.json would say of a run that begins.
        """
        try:
            before = json.loads((self.folder / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = {}
        other = {name: before[name] for name in SURROUNDINGS if name in before and before[name] != now.get(name)}
        entry = {"at": now["started"], **({"before": other} if other else {})}
        return {"started": before.get("started", now["started"]), "resumed": [*before.get("resumed", ()), entry]}

    async def left(self, turns: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
        """The turns that have no result, those that had begun with the number they were given.

        Raises RecordError where the input is not what it was: rows would be left out, and others answered twice.
        """
        last, most = -1, max(self.done, default=-1)
        async with aclosing(as_async(turns)) as items:
            async for item in items:
                last = item.index
                if item.index not in self.done:
                    number = self.numbers.get(item.index)
                    yield replace(item, number=number) if isinstance(item, Turn) and item.number is None else item
                elif self.done[item.index] != _digest(item):
                    row = item.conversation if isinstance(item, Turn) else item.row
                    problem = f"row {item.index + 1} of the input, {row}, is not what has been answered in its place"
                    raise RecordError(f"{self.folder}: {problem}. {OTHER}")
        if last < most:
            problem = f"the input ends after {last + 1} rows, and row {most + 1} has been answered"
            raise RecordError(f"{self.folder}: {problem}. {OTHER}")

    def commits(self) -> Iterator[Commit]:
        """What stores in memory had been given, in order, of the turns that have their result."""
        written = {row["index"]: row for row in rows_of(self.folder / "commits.jsonl")}
        content = content_in(self.folder / MEDIA)
        for row in rows_of(self.folder / "results.jsonl") if written else ():
            for one in written.get(row["index"], {}).get("commits", ()) if row["index"] in self.done else ():
                reply = row["value"] if one["reply"] is None else one["reply"]
                if reply is not None:  # a row of a turn that was answered again later
                    turn = with_content(turn_of(row), content)
                    yield Commit(one["store"], turn, completion_from_json(reply), one["state"])


class _Kept:
    """What has to be known of a result."""

    __slots__ = ("asked", "conversation", "failed")

    def __init__(self, row: Row) -> None:
        self.conversation, self.failed = str(row["conversation"]), row["failure"] is not None
        self.asked = _digest_of(row["conversation"], row["sample"], row.get("history", []), row["message"])


def _to_be_retried(rows: Mapping[int, _Kept]) -> set[int]:
    """Turns that failed, but those that a later turn of their conversation was answered without."""
    last: dict[str, int] = {}
    for index, row in rows.items():
        if not row.failed:
            last[row.conversation] = max(index, last.get(row.conversation, -1))
    return {index for index, row in rows.items() if row.failed and index > last.get(row.conversation, -1)}


def _digest(item: Item) -> bytes:
    turn = item if isinstance(item, Turn) else Turn(item.row, user(""))
    return _digest_of(turn.conversation, turn.sample, to_json(turn.history), to_json(turn.message))


def _digest_of(*asked: Any) -> bytes:
    return hashlib.blake2b(json.dumps(asked).encode("ascii"), digest_size=DIGEST_BYTES).digest()
