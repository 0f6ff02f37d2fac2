"""Earlier runs: what their records say of the speed of an engine on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from vllm_flow.core.errors import RecordError
from vllm_flow.core.recorded import rows_of
from vllm_flow.sweep.index import FILE

RECORDS = 200
"""How many of the newest records are looked at."""


@dataclass(frozen=True)
class Earlier:
    """What earlier runs with the same engine say."""

    runs: int
    tokens_per_s: float
    """Generated, over all that was in flight."""
    tokens_per_turn: float


def records(outputs: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The newest records below a folder, newest first."""
    found = sorted(outputs.glob("**/run.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in islice(found, RECORDS):
        try:
            yield path.parent, json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue


def earlier(engine: Mapping[str, Any], known: Iterable[tuple[Path, Any]]) -> Earlier | None:
    """Points of one sweep ran at once, so a sweep's time counts once: from its first turn to its last."""
    runs: dict[Path, list[tuple[float, float, int, int]]] = {}
    for folder, run in known:
        whole = run.get("status") == "finished" and not run.get("resumed")  # the time between is no time of the engine
        if whole and _engine(folder) == engine and (found := _timed(folder)):
            runs.setdefault(folder.parent if (folder.parent / FILE).exists() else folder, []).append(found)
    if not runs:
        return None
    seconds = sum(max(one[1] for one in run) - min(one[0] for one in run) for run in runs.values())
    tokens, turns = (sum(one[place] for run in runs.values() for one in run) for place in (2, 3))
    if seconds <= 0 or not turns:
        return None
    return Earlier(len(runs), tokens / seconds, tokens / turns)


def _engine(folder: Path) -> Any:
    try:
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        content = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), loader)  # noqa: S506  a safe one
        return content["resources"].get("engine")
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None


def _timed(folder: Path) -> tuple[float, float, int, int] | None:
    """First and last moment of a run's turns, tokens generated, turns."""
    try:
        moments, turns = list[float](), 0
        for row in rows_of(folder / "events.jsonl"):
            moments += [datetime.fromisoformat(row["at"]).timestamp()] if "at" in row else []
            turns += row["event"] == "turn done"
        tokens = sum(row["completion_tokens"] or 0 for row in rows_of(folder / "timings.jsonl"))
    except (RecordError, ValueError, KeyError, TypeError):
        return None
    return (min(moments), max(moments), tokens, turns) if moments and turns else None
