"""The plan: what points would do, before anything is loaded. What cannot be known is said to be unknown, never guessed.

Prompts are made by the pipeline's own context and fuse stages, those that are built in and therefore do nothing but
make them, and counted with the model's tokenizer. Speed comes from records of earlier runs with the same engine.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_flow.core.errors import FlowError, told
from vllm_flow.core.graph import Graph
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.resources import Foreseen, Foresees, StoredTurn
from vllm_flow.core.values import BadRow, Completion, Prompt, Turn, Usage
from vllm_flow.stores.memory import MemoryStore
from vllm_flow.sweep.earlier import Earlier, earlier, records
from vllm_flow.sweep.groups import by_engines
from vllm_flow.sweep.index import FILE
from vllm_flow.sweep.points import Point

COUNTED = 200
"""Prompts that are counted; the rest is reckoned from their mean."""
MAKERS = ("context/", "fuse/")
SHORTEST = Completion(".", (), "stop", Usage(None, None))
"""Stands for an answer that nobody knows yet; an empty one would take its question out of the history."""


@dataclass(frozen=True)
class Prompts:
    """The prompts of one pipeline over one input."""

    turns: int | None
    """None for an input that only a run can read, such as a pipe."""
    bad_rows: int
    tokens: int | None
    """Of all prompts; answers of earlier turns, which later prompts hold, are not among them."""
    longest: int | None
    reckoned: bool
    """Whether only some were counted."""
    why_unknown: str = ""


@dataclass(frozen=True)
class GroupPlan:
    """Points that share an engine and therefore run at once."""

    engine: Mapping[str, Any]
    points: tuple[int, ...]
    prompts: Prompts
    """Of one point."""
    weight_bytes: int | None
    kv_bytes: int | None
    """At most, when all turns that may be in flight have written all they may."""
    context_overflow: int
    """Prompts that leave no room for `sampling.max_tokens`, of those counted."""
    earlier: Earlier | None

    @property
    def turns(self) -> int | None:
        return None if self.prompts.turns is None else self.prompts.turns * len(self.points)

    @property
    def seconds(self) -> float | None:
        """None where nothing is known of this engine."""
        if self.earlier is None or self.turns is None:
            return None
        return self.turns * self.earlier.tokens_per_turn / self.earlier.tokens_per_s


@dataclass(frozen=True)
class Plan:
    groups: tuple[GroupPlan, ...]
    why: tuple[str, ...]
    """For each point why it will run."""
    memory_bytes: int | None
    """Free on this machine now."""


def planned(points: Sequence[Point], outputs: Path) -> Plan:
    """Raises what reading the input raises; a model that cannot be foreseen is told in its group."""
    pipelines = [Pipeline.build(point.spec) for point in points]
    found = list(records(outputs))
    groups = tuple(_group(members, points, pipelines, found) for members in by_engines(dict(enumerate(pipelines))))
    done = {run["fingerprint"]: (folder, run["status"]) for folder, run in reversed(found)}
    why = tuple(_why(done.get(point.spec.fingerprint)) for point in points)
    return Plan(groups, why, _free_memory())


def _group(
    members: Sequence[int], points: Sequence[Point], pipelines: Sequence[Pipeline], known: Sequence[tuple[Path, Any]]
) -> GroupPlan:
    spec, pipeline = points[members[0]].spec, pipelines[members[0]]
    options = next((one.options for one in pipeline.resources.values() if isinstance(one.options, Foresees)), None)
    foreseen, why = _foreseen(options)
    prompts, lengths = _prompts(pipeline, foreseen, why)
    most = int(pipeline.sampling.most("max_tokens"))
    kv = None
    if foreseen and prompts.longest is not None and prompts.turns is not None:
        rows = min(spec.concurrency, prompts.turns * len(members))
        kv = rows * (prompts.longest + most) * foreseen.kv_bytes_per_token
    room = foreseen.context_length if foreseen else None
    engine = dict(spec.resources.get("engine", {}))
    return GroupPlan(
        engine,
        tuple(members),
        prompts,
        foreseen.weight_bytes if foreseen else None,
        kv,
        sum(length + most > room for length in lengths) if room else 0,
        earlier(engine, known),
    )


def _foreseen(options: Foresees | None) -> tuple[Foreseen | None, str]:
    if options is None:
        return None, "the engine does not say what it reads"
    try:
        return options.foresee(), ""
    except FlowError as error:
        return None, told(error).rstrip(".")


def _prompts(pipeline: Pipeline, foreseen: Foreseen | None, why: str) -> tuple[Prompts, list[int]]:
    items = pipeline.turns()
    if isinstance(items, AsyncIterable):
        return Prompts(None, 0, None, None, False, "the input comes from another program"), []
    maker = _Maker(pipeline.graph)
    turns, bad, lengths = 0, 0, list[int]()
    for item in items:
        if isinstance(item, BadRow):
            bad += 1
            continue
        turns += 1
        if foreseen and maker.able and len(lengths) < COUNTED:
            lengths.append(foreseen.count(maker.prompt(item)))
    if not foreseen or not maker.able or not lengths:
        why = why or "a stage of yours makes the prompt, and only a run may call it"
        return Prompts(turns, bad, None, None, False, why), lengths
    tokens = round(sum(lengths) / len(lengths) * turns)
    return Prompts(turns, bad, tokens, max(lengths), len(lengths) < turns), lengths


class _Maker:
    """Makes prompts as the graph would, with the built-in stages that make contexts and prompts."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = [one for one in graph.nodes if one.use.startswith(MAKERS) and one.makes is not type(None)]
        ours = all(type(one.stage).__module__.startswith("vllm_flow.") for one in self._nodes)
        makes = [one.name for one in self._nodes if one.makes is Prompt]
        self.able = ours and len(makes) == 1 and not any(one.each or one.when for one in self._nodes)
        self._store = MemoryStore()
        self._output = makes[0] if makes else ""

    def prompt(self, turn: Turn) -> Prompt:
        turn = Turn(turn.conversation, turn.message, turn.history, turn.number or self._number(turn), turn.sample)
        values: dict[str, Any] = {"turn": turn, "store": self._store}
        for node in self._nodes:
            values[node.name] = node.stage.run(**{name: values[source] for name, source in node.sources.items()})
        self._store.begin(turn)
        self._store.commit(turn, SHORTEST, {})
        prompt: Prompt = values[self._output]
        return prompt

    def _number(self, turn: Turn) -> int:
        known: tuple[StoredTurn, ...] = self._store.turns(turn.conversation)
        return len(known) + 1


def _why(known: tuple[Path, str] | None) -> str:
    if known is None:
        return "no record has this configuration"
    folder, status = known
    where = os.path.relpath(folder)
    if status == "finished":
        return f"it has been run: {where}"
    sweep = folder.parent if (folder.parent / FILE).exists() else folder
    return f"it did not end ({status}): {where}; vllm-flow resume {os.path.relpath(sweep)} goes on"


def _free_memory() -> int | None:
    """Bytes; None where the system does not say."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None
