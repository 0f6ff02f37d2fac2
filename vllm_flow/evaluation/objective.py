"""Objectives: the one number that a search is told of a point, read from the record that the point left."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from vllm_flow.core.errors import ConfigError, Fault, RecordError, listed, nearest
from vllm_flow.core.metrics import metrics_of
from vllm_flow.core.recorded import read
from vllm_flow.core.spec import RunSpec
from vllm_flow.evaluation.scoring import score_run

SCORE = "score"
"""What is no metric but the pipeline's own output."""


@dataclass(frozen=True)
class Objective:
    """The mean of a metric, or of the scores that the pipeline gives."""

    metric: str
    of_output: bool
    higher_is_better: bool | None
    """None where a metric takes no side."""

    def of(self, folder: Path) -> float | None:
        """None unless the point has finished, all of it could be read and every turn has its score.

        Raises ConfigError for metrics that are gone.
        """
        try:
            if read(folder).run.get("status") != "finished":
                return None
            if self.of_output:
                return mean_score(folder)
            scores = score_run(folder)
        except RecordError:  # the point failed before it had one
            return None
        found = scores.summaries[self.metric]
        return None if scores.problems or scores.failed_turns or found.failed else found.mean


def objective(metric: str, spec: RunSpec) -> Objective:
    """Raises ConfigError for a metric that the configuration does not have."""
    known = metrics_of(spec)
    if metric in known:
        return Objective(metric, False, known[metric].higher_is_better)
    if metric == SCORE:
        return Objective(metric, True, True)
    names = {*known, SCORE}
    problem = f"there is no metric '{metric}'.{nearest(metric, names)} There are: {listed(names)}."
    raise ConfigError([Fault("sweep.search.metric", problem)])


def mean_score(folder: Path) -> float | None:
    """The mean of the scores in a record; None unless every turn has one."""
    try:
        with (folder / "results.jsonl").open(encoding="utf-8") as file:
            scores = [_score(json.loads(line)["value"]) for line in file]
    except (OSError, ValueError, KeyError):
        return None
    given = [one for one in scores if one is not None]
    return fmean(given) if given and len(given) == len(scores) else None


def _score(value: Any) -> float | None:
    """Of a value as a record has it: `{"value": 0.7}`."""
    found = value.get("value") if isinstance(value, Mapping) else None
    return float(found) if isinstance(found, int | float) and math.isfinite(found) else None
