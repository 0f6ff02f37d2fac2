"""The section `sweep`: which points there are, and how they are run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from vllm_flow.core.options import at_least
from vllm_flow.core.values import nothing


@dataclass(frozen=True)
class Search:
    """Looks for the best point, with Optuna: each batch of points is proposed by what came of those before."""

    trials: Annotated[int, at_least(1)] = 40
    """How many points in all."""
    batch: Annotated[int, at_least(1)] = 8
    """How many are proposed together, and so answered together."""
    metric: str = "score"
    """Whose mean is to be good: a name under `metrics`, or `score`, the output of a pipeline that gives one."""
    direction: Literal["maximize", "minimize"] | None = None
    """Whether more of it is better, or less; null is what the metric says."""
    sampler: Literal["tpe", "random"] = "tpe"
    """Tree-structured Parzen estimators, or at random; both seeded by `seed`."""
    storage: str | None = None
    """A file that keeps the trials, for several sweeps to go on with; null keeps them in the sweep's folder."""


@dataclass(frozen=True)
class Sweep:
    """Points of a sweep. What `-m` sweeps on the command line is crossed with all of it."""

    grid: Mapping[str, Any] = field(default_factory=nothing)
    """Key to its values, as a list or in Hydra's words, `range(0, 1, 0.25)`. Every combination is a point."""
    zip: Mapping[str, Any] = field(default_factory=nothing)
    """Key to its values; lists of one length. The first values are a point, then the second ones, …"""
    points: tuple[Mapping[str, Any], ...] = ()
    """Points written out, each a mapping of keys to values."""
    samples: Annotated[int, at_least(1)] | None = None
    """Draw so many points at random, seeded by `seed`: from `interval(low, high)` evenly, from other values any one."""
    search: Search | None = None
    """Look for the best point among what is swept instead of running them all: `sweep.search.trials=40`."""
    repeat: Annotated[int, at_least(1)] = 1
    """How many independent answers each turn gets, at every point."""
    max_points: Annotated[int, at_least(1)] = 1000
    """A sweep of more points is refused."""
    fail_fast: bool = False
    """Stop at the first turn or point that fails; `--fail-fast` is the same."""
    baseline: Mapping[str, Any] = field(default_factory=nothing)
    """Keys and values of the point that the others are compared with; the first point if nothing is said."""

    @property
    def is_one(self) -> bool:
        """Whether it asks for points at all."""
        return bool(self.grid or self.zip or self.points or self.samples or self.search)
