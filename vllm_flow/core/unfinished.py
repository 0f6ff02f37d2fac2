"""Unfinished: what a run that did not end has already done, read from its folder, so that it can go on.

A row of `results.jsonl` is a finished turn. A turn that had begun keeps the number it was given, so that a store that
has it already does not hold it twice. What a store in memory had been given is read back from `commits.jsonl`.
"""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vllm_flow.core.codec import completion_from_json, turn_from_json
from vllm_flow.core.errors import RecordError
from vllm_flow.core.files import replaced
from vllm_flow.core.flow import Item, as_async
from vllm_flow.core.values import Completion, Turn


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
    """Reads a run's folder once; a line that a killed process had not ended is cut off."""

    folder: Path
    done: frozenset[int]
    """The index of every turn that has its result."""
    failed: int
    """How many of them are failures."""
    numbers: Mapping[str, tuple[int, ...]]
    """Conversation to the numbers that its turns were given, in order."""

    @classmethod
    def read(cls, folder: Path, retry_errors: bool = False) -> Unfinished | None:
        """None where no run has begun. `retry_errors`: failed turns that nothing was built on are to be done again.

        Raises RecordError for what is no record.
        """
        if not (folder / "config.yaml").exists():  # the first file of a record
            return None
        try:
            if retry_errors:
                _forget_errors(folder)
            rows = [(int(row["index"]), row["failure"] is not None) for row in _rows(folder / "results.jsonl")]
            numbers: dict[str, dict[int, None]] = defaultdict(dict)  # a dict, for its order
            for row in _rows(folder / "events.jsonl"):
                if row["event"] == "turn started":
                    numbers[row["conversation"]][row["turn"]] = None
        except (OSError, ValueError, KeyError, TypeError) as error:
            problem = f"{folder}: it cannot be gone on with ({error}). Run it again in another folder."
            raise RecordError(problem) from error
        done = frozenset(index for index, _ in rows)
        return cls(folder, done, sum(bad for _, bad in rows), {name: tuple(each) for name, each in numbers.items()})

    async def left(self, turns: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
        """The turns that have no result, those that had begun with the number they were given."""
        seen: Counter[str] = Counter()
        async with aclosing(as_async(turns)) as items:
            async for item in items:
                if isinstance(item, Turn):
                    given = self.numbers.get(item.conversation, ())
                    place, seen[item.conversation] = seen[item.conversation], seen[item.conversation] + 1
                    if item.number is None and place < len(given):
                        item = replace(item, number=given[place])  # noqa: PLW2901
                if item.index not in self.done:
                    yield item

    def commits(self) -> Iterator[Commit]:
        """What stores in memory had been given, in order, of the turns that have their result."""
        written = {row["index"]: row for row in _rows(self.folder / "commits.jsonl")}
        for row in _rows(self.folder / "results.jsonl") if written else ():
            for one in written.get(row["index"], {}).get("commits", ()):
                reply = completion_from_json(row["value"] if one["reply"] is None else one["reply"])
                yield Commit(one["store"], _turn(row), reply, one["state"])


def _turn(row: Mapping[str, Any]) -> Turn:
    kept = {name: row[name] for name in ("conversation", "sample", "index", "message")}
    kept |= {name: row[name] for name in ("history", "tenant") if name in row}
    return turn_from_json({**kept, "number": row["turn"]})


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file, one at a time; none where there is no file. What stands after the last newline is cut off."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        while line := file.readline():
            if not line.endswith(b"\n"):
                file.seek(-len(line), os.SEEK_END)
                file.truncate()
                return
            yield json.loads(line)


def _forget_errors(folder: Path) -> None:
    """Take failures out of the results, but those that later turns of their conversation were answered after."""
    last: dict[str, int] = {}
    for row in _rows(folder / "results.jsonl"):
        if row["failure"] is None:
            last[row["conversation"]] = max(last.get(row["conversation"], -1), row["index"])
    with replaced(folder / "results.jsonl") as kept:
        for row in _rows(folder / "results.jsonl"):
            if row["failure"] is None or last.get(row["conversation"], -1) > row["index"]:
                kept.write(json.dumps(row, ensure_ascii=False) + "\n")
