"""Configuration: from a command line and YAML files to a plain RunSpec. Only here Hydra and OmegaConf are known.

Hydra is imported when something is composed, not before: `--help` and `ls` need not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from vllm_flow.config.groups import read_groups
from vllm_flow.config.layers import in_project, sample_input

if TYPE_CHECKING:  # completion needs neither, and not to import them saves a fifth of its time
    from vllm_flow.core.phrases import JsonSchema
    from vllm_flow.core.spec import RunSpec

__all__ = ["compose", "groups", "run_jobs", "sample_input", "schema"]

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


def run_jobs(
    arguments: Sequence[str],
    task: Callable[[RunSpec, Path], None],
    check: Callable[[RunSpec], object] | None = None,
) -> None:
    """`vllm-flow [-m] key=value …`: run `task(spec, folder)` for every job, each in its own folder.

    `check` sees the spec of a single run before anything is written; what it raises is raised.
    Raises ConfigError before any job starts, what the task raised when it was the only job, and JobsFailed, a FlowError
    with a line for each failure, when jobs of a sweep failed.
    """
    from vllm_flow.config import jobs

    jobs.run_jobs(arguments, task, check)


def groups() -> Mapping[str, Mapping[str, str]]:
    """What can be chosen: group to choice to the choice's one-line comment, of all layers."""
    return {name: dict(sorted(group.comments.items())) for name, group in sorted(read_groups().items())}


def schema() -> JsonSchema:
    """The JSON Schema of everything a file may say, of what is registered now. `$defs` has a part for each group."""
    from vllm_flow.config import schemas

    return schemas.schema()
