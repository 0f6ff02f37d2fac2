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

from vllm_flow.core.errors import ContextOverflow, EngineError, FlowError, told
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.resources import Foreseen, Foresees
from vllm_flow.core.values import BadRow
from vllm_flow.sweep.earlier import Earlier, earlier, records
from vllm_flow.sweep.groups import by_engines
from vllm_flow.sweep.index import FILE
from vllm_flow.sweep.points import Point
from vllm_flow.sweep.prompt_maker import PromptMaker

COUNTED = 200
"""Prompts that are counted; the rest is reckoned from their mean."""


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
    refused: int = 0
    """Of those counted, prompts that the fuser itself refuses to make: nothing of what they say may give way."""
    unread: int = 0
    """Of those counted, prompts that the engine refuses, however long they are."""
    why_unread: str = ""
    """What it says of the first."""


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
        prompts.refused + (sum(length + most > room for length in lengths) if room else 0),
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
    maker = PromptMaker(pipeline, foreseen) if foreseen else None
    turns, bad, refused, lengths, unread = 0, 0, 0, list[int](), list[str]()
    for item in items:
        if isinstance(item, BadRow):
            bad += 1
            continue
        turns += 1
        if foreseen and maker and maker.able and len(lengths) + refused + len(unread) < COUNTED:
            try:
                lengths.append(foreseen.count(maker.prompt(item)))
            except ContextOverflow:
                refused += 1
            except EngineError as error:  # a run fails this turn and goes on
                unread.append(told(error))
    why_unread = next(iter(unread), "")
    if not foreseen or not maker or not maker.able or not lengths:
        none = "none fits" if refused else "none is read" if unread else "a stage makes them that only a run may call"
        return Prompts(turns, bad, None, None, False, why or none, refused, len(unread), why_unread), lengths
    tokens = round(sum(lengths) / len(lengths) * turns)
    reckoned = len(lengths) < turns
    return Prompts(turns, bad, tokens, max(lengths), reckoned, "", refused, len(unread), why_unread), lengths


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
