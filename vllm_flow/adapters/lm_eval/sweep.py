"""A sweep through lm-eval: the tasks once for each point, and all requests of all points in one batch.

lm-eval gathers the requests of all its tasks before it asks the model. So a point is a copy of the tasks under another
name, with its own generation arguments, and one evaluation is the whole sweep.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager

from vllm_flow.adapters.lm_eval.model import FlowLM
from vllm_flow.core.errors import FlowError, listed

OF_TASKS = ("results", "configs", "versions", "n-shot", "higher_is_better", "n-samples", "samples", "group_subtasks")
"""What lm-eval reports by the names of tasks."""


def evaluate_points(
    model: FlowLM,
    tasks: Sequence[str],
    points: Sequence[Mapping[str, Any]],
    *,
    task_manager: TaskManager | None = None,
    **options: Any,
) -> list[dict[str, Any]]:
    """What `lm_eval.simple_evaluate(model, tasks=tasks, gen_kwargs=point, **options)` gives, for each of the points.

    A point changes only tasks that generate; log-likelihoods are those of the unmodified logits, so they are scored
    once for all points. Raises FlowError for points that are equal, and for groups of tasks, whose names lm-eval
    would not find again.
    """
    if twice := [dict(one) for place, one in enumerate(points) if one in points[:place]]:
        raise FlowError(f"evaluate_points: the point {twice[0]} is there twice. Leave one out.")
    manager = task_manager or TaskManager()
    names: list[dict[str, str]] = []
    copies = []
    for place, point in enumerate(points):
        loaded = manager.load(list(tasks))
        if loaded["groups"]:
            raise FlowError(f"evaluate_points: these are groups: {listed(loaded['groups'])}. Name their tasks.")
        names.append({f"{name}@{place}": name for name in loaded["tasks"]})
        for name, task in loaded["tasks"].items():
            task.set_config(key="task", value=f"{name}@{place}")
            if task.get_config("output_type") == "generate_until":
                task.set_config(key="generation_kwargs", value=dict(point), update=True)
            copies.append(task)
    found = lm_eval.simple_evaluate(model=model, tasks=copies, task_manager=manager, **options)
    return [_of_point(found, own) for own in names]


def _of_point(found: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The report under the tasks' real names, without the other points."""
    tables = {key: value for key, value in found.items() if key in OF_TASKS and isinstance(value, Mapping)}
    own = {
        key: {name: _named(table[copy], copy, name) for copy, name in names.items() if copy in table}
        for key, table in tables.items()
    }
    return {**found, **own}


def _named(entry: Any, copy: str, name: str) -> Any:
    """What is said of a task, which names it in some entries once more."""
    if not isinstance(entry, Mapping):
        return entry
    return {key: name if value == copy else value for key, value in entry.items()}
