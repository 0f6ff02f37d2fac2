"""Groups: points that need the same engines, and so run at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_flow.core.pipeline import Pipeline


def shared(pipeline: Pipeline) -> list[Any]:
    """Options of the engines that it needs."""
    return [one.options for one in pipeline.resources.values() if one.shared]


def by_engines(pipelines: Mapping[int, Pipeline]) -> list[list[int]]:
    """Numbers of points by the engines they need, in the order in which each kind comes first."""
    kinds: list[tuple[list[Any], list[int]]] = []
    for number, pipeline in pipelines.items():
        wanted = shared(pipeline)
        known = next((group for other, group in kinds if other == wanted), None)  # options may have no hash
        if known is None:
            kinds.append((wanted, known := []))
        known.append(number)
    return [group for _, group in kinds]
