"""What parts refuse before anything runs: options by themselves, stages by the sampling and the engine they will get.

A stage says it with `check`, whose parameters name values of the graph. The values are those that the configuration
alone determines: `sampling`, the options of a resource, and what a stage's `foresee` says it will make of such values.
So a schedule's own `set` is seen, and a nested pipeline is asked about the engine that it is wired to.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vllm_flow.core.graph import Graph, Node
from vllm_flow.core.options import OptionProblem
from vllm_flow.core.spec import Path

NESTED = "pipeline/"


def refusals(graph: Graph, known: Mapping[str, Any], path: Path = ("graph",)) -> Iterator[tuple[Path, str]]:
    """Path and problem of all that the stages of a wired graph refuse; `known` are values and options by name."""
    known = dict(known)
    for node in graph.nodes:
        if isinstance(node.stage, Graph):
            wired = {to: known[source] for to, source in node.sources.items() if source in known and to != node.each}
            yield from refusals(node.stage, wired, ("pipelines", node.use.removeprefix(NESTED), "graph"))
            continue
        for place, problem in _ask(getattr(node.stage, "check", None), node, known) or ():
            yield place or (*path, node.name), problem
        if not node.each and not node.when:
            known[node.name] = _ask(getattr(node.stage, "foresee", None), node, known)


def _ask(method: Callable[..., Any] | None, node: Node, known: Mapping[str, Any]) -> Any:
    """The method's answer, or None when there is no such method or a value it wants is not known yet."""
    if method is None:
        return None
    values = {one: known.get(node.sources.get(one, one)) for one in inspect.signature(method).parameters}
    return method(**values) if all(value is not None for value in values.values()) else None


def own_problems(made: Any) -> Iterator[tuple[Path, str]]:
    """What `problems()` of an options object says, and that of the options in it: what no schema can see.

    It gives an OptionProblem to name one option, or a text for a combination of several.
    """
    if callable(own := getattr(made, "problems", None)):
        yield from ((one.path, one.problem) if isinstance(one, OptionProblem) else ((), one) for one in own())
    for field in dataclasses.fields(made):
        inner = getattr(made, field.name)
        if dataclasses.is_dataclass(inner):
            yield from (((field.name, *path), problem) for path, problem in own_problems(inner))
