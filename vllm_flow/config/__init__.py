"""Configuration: from a command line and YAML files to a plain RunSpec. Only here Hydra and OmegaConf are known.

Hydra is imported when something is composed, not before: `--help` and `ls` need not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from vllm_flow.config.groups import read_groups
from vllm_flow.config.layers import in_project, sample_input

if TYPE_CHECKING:  # completion needs neither, and not to import them saves a fifth of its time
    from vllm_flow.config.job import Work
    from vllm_flow.core.phrases import JsonSchema
    from vllm_flow.core.spec import RunSpec
    from vllm_flow.sweep.points import Outcome, Point

__all__ = ["compose", "composer", "groups", "points_for", "run_jobs", "sample_input", "schema", "search_on"]

_one_at_a_time = Lock()
"""Hydra's state belongs to the process, and threads may ask at once."""


def compose(overrides: Sequence[str] = (), project: str | PathLike[str] | None = None) -> RunSpec:
    """The configuration that these overrides choose, with the place of everything in it. Raises ConfigError.

    `project` is the user's folder where it is not the usual one.
    """
    from vllm_flow.config.composition import composing
    from vllm_flow.config.overrides import rewrite
    from vllm_flow.config.spec import spec_of

    with _one_at_a_time, in_project(project), composing() as loader:
        return spec_of(loader.compose(rewrite(overrides, loader.groups)), loader)


@contextmanager
def composer(project: str | PathLike[str] | None = None) -> Iterator[Callable[[Sequence[str]], RunSpec]]:
    """`compose` for many, which share what they have in common; of overrides as a record has them."""
    from vllm_flow.config.composition import composing
    from vllm_flow.config.spec import spec_of

    with _one_at_a_time, in_project(project), composing() as loader:
        loader.shares = True
        yield lambda overrides: spec_of(loader.compose(list(overrides)), loader)


def run_jobs(arguments: Sequence[str], work: Work) -> list[Outcome]:
    """`vllm-flow [-m] key=value …`: what became of each point, run by `work`, each in a folder of its own.

    Raises ConfigError with every fault of every point, before anything is written.
    """
    from vllm_flow.config import jobs

    return jobs.run_jobs(arguments, work)


def search_on(
    folder: Path, project: str | PathLike[str] | None, work: Work, changes: Sequence[str] = ()
) -> list[Outcome]:
    """Go on with the search in a folder, whose listed points have been run. Raises ConfigError, RecordError."""
    from vllm_flow.config import jobs

    with in_project(project or None):
        return jobs.run_jobs([*jobs.began_with(folder), *changes], work)


def points_for(arguments: Sequence[str]) -> list[Point]:
    """The points that `run_jobs` would run; nothing is written. Raises ConfigError with every fault of every point."""
    from vllm_flow.config import jobs

    return jobs.points_for(arguments)


def groups() -> Mapping[str, Mapping[str, str]]:
    """What can be chosen: group to choice to the choice's one-line comment, of all layers."""
    return {name: dict(sorted(group.comments.items())) for name, group in sorted(read_groups().items())}


def schema() -> JsonSchema:
    """The JSON Schema of everything a file may say, of what is registered now. `$defs` has a part for each group."""
    from vllm_flow.config import schemas

    return schemas.schema()
