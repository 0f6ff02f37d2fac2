"""Verify: every answer of a record computed again, in its configuration, and held against what was recorded.

A difference is evidence only beside what else is not as it was, so libraries, weights and engines that do not promise
the same answer twice are named with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.calls import Calls, Row
from vllm_flow.core.codec import to_json
from vllm_flow.core.engines import Engines
from vllm_flow.core.events import Event, Opened
from vllm_flow.core.record_rows import result_row
from vllm_flow.core.recorded import Recorded
from vllm_flow.core.results import Result
from vllm_flow.core.revision import Revisions
from vllm_flow.core.runner import Runner
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.surroundings import code_of, git_state, unsteady, versions
from vllm_flow.replay.again import Recalled, answered_again, in_memory, turns_of
from vllm_flow.replay.differences import Difference, Pass, difference


@dataclass(frozen=True)
class Verdict:
    """What came of it."""

    compared: int
    differing: tuple[Difference, ...]
    """One for each answer that differs, in the order of the turns."""
    left_out: Mapping[str, int]
    """Why other answers were not computed again, with how many."""
    notes: tuple[str, ...]
    """What else is not as it was."""

    @property
    def equal(self) -> int:
        return self.compared - len(self.differing)


class Verification:
    """One pass over a record. A `with` holds its resources open: enter it outside of any event loop.

    Raises ConfigError when the configuration can no longer be built, and what opening resources raises.
    """

    def __init__(self, recorded: Recorded, engines: Engines | None = None) -> None:
        self._recorded = recorded
        self._calls = recorded.calls()
        self._facts: Mapping[str, Mapping[str, Any]] = {}
        self._now: dict[int, Row] = {}
        self._turns = turns_of(recorded)
        observers = (Calls(self._keep), self._hear)
        self.runner = Runner(in_memory(recorded.spec), engines, observers, Recalled(self._calls))

    async def verdict(self) -> Verdict:
        """Computes all of it. The runner must be open."""
        rows = {row["index"]: row for row in self._turns.rows}
        turns = [self._recorded.turn(row) for row in rows.values()]
        found: dict[int, Difference] = {}
        async with aclosing(answered_again(self.runner, turns)) as results:
            async for result in results:
                index = result.turn.index
                now = Pass(_again(result_row(result)), self._now.pop(index, None))
                one = difference(Pass(rows[index], self._calls.get(index)), now, self._spell)
                if one is not None:
                    found[index] = one
        differing = tuple(found[index] for index in sorted(found))
        other = changes(self._recorded.run, self._recorded.spec, self._facts)
        notes = (*other, *(f"{one}. A difference need not be a fault" for one in unsteady(self._facts)))
        return Verdict(len(rows), differing, self._turns.left_out, notes)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Opened):
            self._facts = _again(dict(event.resources))

    def _keep(self, row: Row, result: Result | None) -> None:
        if result is not None:
            self._now[row["index"]] = _again(row)

    def _spell(self, resource: str, ids: Sequence[int]) -> str:
        decode = getattr(self.runner.opened(resource), "decode", None)
        return str(decode(list(ids))) if callable(decode) else ""


def _again(value: object) -> Any:
    """As it would be read from a record."""
    return json.loads(json.dumps(to_json(value)))


def changes(run: Mapping[str, Any], spec: RunSpec, facts: Mapping[str, Any]) -> Iterator[str]:
    """What is not as it was when the run was recorded. `facts` are what the open resources say of themselves."""
    then = run.get("versions", {})
    for name, now in versions().items():
        if name in then and then[name] != now:
            yield f"{name} is {now}, and was {then[name]}"
    for file, now in code_of(spec).items():
        if run.get("code", {}).get(file, now) != now:
            yield f"{file} is not what it was"
    old, new = ((one or {}).get("commit") for one in (run.get("git"), git_state(Revisions()(spec))))
    if old and new and old != new:
        yield f"the project is at commit {new[:8]}, and was at {old[:8]}"
    for resource, told in facts.items():
        before = run.get("resources", {}).get(resource, {})
        for name, value in told.items():
            if name in before and before[name] != value:
                yield f"{resource}: {name} is {value}, and was {before[name]}"
