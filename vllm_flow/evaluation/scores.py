"""Scores: what metrics say of one run, as values to look at, to write and to compare."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vllm_flow.core.metrics import Value

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Prompt(NamedTuple):
    """What all samples of one prompt share."""

    conversation: str
    turn: int | None


@dataclass(frozen=True, slots=True)
class Unscored:
    """Why a metric has no value for some answers or prompts: it raised, or gave what is no score."""

    metric: str
    reason: str
    count: int
    first: Prompt
    """Where it was met first."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One metric over a whole run."""

    name: str
    use: str
    higher_is_better: bool | None
    """None: no axis of quality or cost."""
    over_samples: bool
    """Whether it has one value a prompt, and not one an answer."""
    mean: float | None
    """Over prompts of the mean over each prompt's samples, so that a prompt counts once however often it was asked.
    True is 1. None when there is no value."""
    prompts: int
    """With a value."""
    values: int
    not_applied: int
    """Answers, or prompts, to which it does not apply: no text, no reference, too short …"""
    failed: int


@dataclass(frozen=True, slots=True)
class Scores:
    """All that was measured of one run."""

    folder: Path
    prompts: tuple[Prompt, ...]
    """The rows: in the order of the input."""
    samples: tuple[int, ...]
    """The columns: which of several independent answers."""
    values: Mapping[str, tuple[tuple[Value, ...], ...]]
    """Metric to its values by prompt and sample; one column for a metric over samples. None: there is none."""
    summaries: Mapping[str, Summary]
    failed_turns: int = 0
    """Answers that there are none of, because the turn failed; most metrics do not apply to them."""
    unscored: tuple[Unscored, ...] = ()
    problems: tuple[str, ...] = ()
    """What of the record was left out, one line each."""

    def array(self, metric: str) -> NDArray[Any]:
        """Float64 [prompts, samples], NaN where there is no value; [prompts, 1] for a metric over samples."""
        import numpy as np  # `check` and `ls` need none

        rows = self.values[metric]
        found = [[math.nan if value is None else float(value) for value in row] for row in rows]
        return np.array(found, dtype=np.float64).reshape(len(rows), -1 if rows else 0)


def stacked(points: Sequence[Scores], metric: str) -> tuple[NDArray[Any], tuple[Prompt, ...]]:
    """One metric of several runs as float64 [points, prompts, samples], and the prompts.

    Paired by prompt and by sample: a prompt or a sample that a point lacks is NaN there, and so is all of a point
    without this metric.
    """
    import numpy as np

    prompts = tuple(dict.fromkeys(prompt for point in points for prompt in point.prompts))
    over = any(point.summaries[metric].over_samples for point in points if metric in point.summaries)
    samples = [0] if over else sorted({sample for point in points for sample in point.samples})
    table = np.full((len(points), len(prompts), len(samples)), math.nan)
    rows = {prompt: row for row, prompt in enumerate(prompts)}
    columns = {sample: column for column, sample in enumerate(samples)}
    for place, point in enumerate(points):
        if metric in point.values and point.prompts:
            own = [0] if over else [columns[sample] for sample in point.samples]
            table[place][np.ix_([rows[prompt] for prompt in point.prompts], own)] = point.array(metric)
    return table, prompts


def mean_of(rows: Iterable[Sequence[Value]]) -> tuple[float | None, int, int]:
    """The mean over rows of each row's mean, rows that have one, and values; None is left out."""
    known = [[float(value) for value in row if value is not None] for row in rows]
    means = [math.fsum(row) / len(row) for row in known if row]
    return (math.fsum(means) / len(means) if means else None), len(means), sum(map(len, known))
