"""Courses: how the sampling parameters of an answer moved, as planned and as it was, with the signals they followed.

What was is in the record. What was planned is computed again, from the recorded configuration and by the same
schedules; of one that follows what only a run can tell, or whose code is gone, there is no plan.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vllm_flow.core.errors import FlowError
from vllm_flow.core.moving import Now
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.planned import of_an_answer, plans_of, thinned
from vllm_flow.core.ranges import RANGES
from vllm_flow.core.recorded import Recorded, Row
from vllm_flow.core.sampling import NEUTRAL
from vllm_flow.core.sampling_plan import SamplingPlan

MOST_POINTS = 200
"""Of a curve. Longer ones are thinned out, and the page says so."""
DIGITS = 5
ALIKE = 1e-6
ITEM = re.compile(r"\[\d+\]$")
Key = tuple[int, int]
"""A turn's index, and which of several answers of one request."""


@dataclass
class Courses:
    """Of one run, the courses of the answers that are asked about."""

    recorded: Recorded
    _calls: dict[int, list[Row]] = field(default_factory=dict)
    _progress: dict[int, float] = field(default_factory=dict)
    _plans: Mapping[str, SamplingPlan] | None = None

    def read(self, indices: frozenset[int]) -> None:
        """The requests whose parameters moved. Raises RecordError."""
        for row in self.recorded.rows("calls.jsonl") if self.recorded.has_calls else ():
            if row.get("index") in indices:
                self._calls[row["index"]] = [call for call in row["calls"] if call.get("moving")]
        if any(self._calls.values()):
            rows = self.recorded.rows("results.jsonl")
            self._progress = {row["index"]: row["progress"] for row in rows if row.get("progress") is not None}

    def of(self, index: int, turn: int | None, place: int) -> dict[str, Any] | None:
        """How an answer's parameters moved, as the page draws it; None when none did."""
        calls = self._calls.get(index, [])
        own = [call for call in calls if call["node"] == self.recorded.spec.output] or calls
        own = [call for call in own if call["sample"] == place] if len(own) > 1 else own
        if len(own) != 1:  # it was chosen among others, and nobody wrote down which it is
            return None
        curves = [*self._curves(own[0], index, turn)]
        if not curves:
            return None
        told = own[0].get("signals", {}).items()
        signals = [{"name": name, "points": _points(column)} for name, column in told]
        tokens = max(map(len, own[0]["moving"].values()))
        thin = {"thin": True} if tokens > MOST_POINTS else {}
        return {"length": tokens, "curves": curves, "signals": signals, **thin}

    def _curves(self, call: Row, index: int, turn: int | None) -> Iterator[dict[str, Any]]:
        """Of each parameter that moved, or was to."""
        for name, values in call["moving"].items():
            planned = self._planned(call, name, Now(turn=turn or 1, done=self._progress.get(index)))
            if len({*values, *(planned or ())}) > 1:
                curve = {"name": name, "points": _points(values)}
                yield curve if planned is None else {**curve, "planned": _alike(planned, values) or _points(planned)}

    def _planned(self, call: Row, name: str, now: Now) -> list[float] | None:
        if self._plans is None:
            self._plans = _plans(self.recorded)
        plan = self._plans.get(ITEM.sub("", call["node"]))
        if plan is None or name not in plan.moving or name not in RANGES:
            return None
        now.max_tokens = call["sampling"][0][1].get("max_tokens", NEUTRAL.max_tokens)
        try:
            return of_an_answer(plan.moving[name], name, len(call["moving"][name]), now)
        except FlowError:  # the code is another by now
            return None


def _plans(recorded: Recorded) -> Mapping[str, SamplingPlan]:
    """What each node of the graph that asks for a schedule was to follow; nothing when the code is no longer there."""
    try:
        pipeline = Pipeline.build(recorded.spec)
    except FlowError:
        return {}
    # Of a node that chooses among several in each turn nobody wrote down which it was.
    by_schedule = {
        one.path[-1]: one.plan for one in plans_of(pipeline) if one.path[0] == "graph" and one.preset is None
    }
    found = {}
    for node in pipeline.graph.nodes:
        for source in node.sources.values():
            if source in by_schedule:
                found[node.name] = by_schedule[source]
    return found


def _alike(planned: Sequence[float], values: Sequence[float]) -> bool:
    """Whether all went as planned: then the page need not carry it twice."""
    return all(abs(one - other) <= ALIKE * max(1, abs(other)) for one, other in zip(planned, values, strict=True))


def _points(column: Sequence[float | None]) -> list[Any]:
    """Each value, or pairs of a token and a value where there are many; None where nothing was told."""
    if len(column) <= MOST_POINTS:
        return [None if value is None else _short(value) for value in column]
    known = [(token, value) for token, value in enumerate(column) if value is not None]
    return [[token, _short(value)] for token, value in thinned(known, MOST_POINTS)]


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
