"""Objectives: what a search is told of a point, read from the record that the point left."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from vllm_flow.core.errors import ConfigError, Fault, listed, nearest

Objective = Callable[[Path], float | None]
"""Of a point's folder. None where the point has no such value, which makes it a failed trial."""


def mean_score(folder: Path) -> float | None:
    """The mean of the scores in a record; None unless every turn has one."""
    try:
        with (folder / "results.jsonl").open(encoding="utf-8") as file:
            scores = [_score(json.loads(line)["value"]) for line in file]
    except (OSError, ValueError, KeyError):
        return None
    given = [one for one in scores if one is not None]
    return fmean(given) if given and len(given) == len(scores) else None


OBJECTIVES: Mapping[str, Objective] = {"score": mean_score}
"""Metrics that a search can go by."""


def objective(metric: str) -> Objective:
    """Raises ConfigError for a metric that there is not."""
    if metric not in OBJECTIVES:
        problem = f"there is no metric '{metric}'.{nearest(metric, OBJECTIVES)} There are: {listed(OBJECTIVES)}."
        raise ConfigError([Fault("sweep.search.metric", problem)])
    return OBJECTIVES[metric]


def _score(value: Any) -> float | None:
    """Of a value as a record has it: `{"value": 0.7}`."""
    found = value.get("value") if isinstance(value, Mapping) else None
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else None
