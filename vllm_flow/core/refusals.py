"""What parts say before anything runs: options by themselves, stages by the sampling and the engine they will get.

A stage refuses with `check` and warns with `advise`; both name values of the graph as parameters and yield pairs of a
path, empty for the node itself, and a text. A parameter with a default may name what is not there. The values
are those that the configuration alone determines: `sampling`,
the options of a resource, and what a stage's `foresee` says it will make of such values. So a schedule's own `set` is
seen, and a nested pipeline is asked about the engine that it is wired to.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from vllm_flow.core.errors import listed, nearest, shown, told
from vllm_flow.core.graph import Graph, Node
from vllm_flow.core.spec import Path

NESTED = "pipeline/"


@dataclass(frozen=True, slots=True)
class Foreseen:
    """A stage in its place, and what is known of its run before it runs."""

    path: Path
    node: Node
    known: Mapping[str, Any]
    """Values and options of resources, by their names in the node's own graph."""
    value: Any
    """What it will make; None when that is not known."""


def foreseen(graph: Graph, known: Mapping[str, Any], path: Path = ("graph",)) -> Iterator[Foreseen]:
    """The stages of a wired graph in running order; `known` are values and options by name."""
    known = dict(known)
    for node in graph.nodes:
        if isinstance(node.stage, Graph):
            wired = {to: known[source] for to, source in node.sources.items() if source in known and to != node.each}
            yield from foreseen(node.stage, wired, ("pipelines", node.use.removeprefix(NESTED), "graph"))
            continue
        sure = not node.each and not node.when
        value = None
        with suppress(Exception):  # the stage is somebody else's: then nothing is known, and `run` will say why
            value = _ask(getattr(node.stage, "foresee", None), node, known) if sure else None
        yield Foreseen((*path, node.name), node, dict(known), value)
        known[node.name] = value


def said(stages: Iterable[Foreseen], method: Literal["check", "advise"]) -> Iterator[tuple[Path, str]]:
    """Path and text of all that the stages refuse, or warn of."""
    for one in stages:
        try:
            answers = _pairs(_ask(getattr(one.node.stage, method, None), one.node, one.known))
        except Exception as error:  # the stage is somebody else's
            answers = [((), f"{one.node.use}: its '{method}' fails: {told(error).removesuffix('.')}. Mend it.")]
        for place, text in answers:
            yield place or one.path, text


def _pairs(answer: Any) -> list[tuple[Path, str]]:
    """What the method yields. Raises TypeError when it is anything but pairs of a path and a text."""
    found: list[Any] = [answer] if isinstance(answer, str) else list(answer or ())
    for one in found:
        if not (isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], tuple) and isinstance(one[1], str)):
            raise TypeError(f'it gave {shown(one)}. Yield pairs: `yield (), "what is wrong. What would be right."`')
    return found


def _ask(method: Callable[..., Any] | None, node: Node, known: Mapping[str, Any]) -> Any:
    """The method's answer, or None when there is no such method or a value it wants is not known yet."""
    if method is None:
        return None
    asked = inspect.signature(method).parameters
    there = {*node.sources, *known}
    if unknown := [name for name, one in asked.items() if name not in there and one.default is one.empty]:
        raise TypeError(
            f"nothing here is called '{unknown[0]}'.{nearest(unknown[0], there)} There are: {listed(there)}"
        )
    values = {one: known.get(node.sources.get(one, one)) for one in asked if one in there}
    return method(**values) if all(value is not None for value in values.values()) else None
