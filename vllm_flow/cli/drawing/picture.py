"""Picture: what there is to draw, whatever it is drawn with: values in running order and the wires between them.

A value that comes from outside stands right before its first reader, so that wires stay short. No text in here has a
character that cannot be printed, so that what draws it need only mind its own format.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal

from vllm_flow.cli.words import printed
from vllm_flow.core.errors import shown
from vllm_flow.core.graph import Graph, Node
from vllm_flow.core.pipeline import Pipeline, Resource
from vllm_flow.core.ports import type_name

Kind = Literal["given", "resource", "value", "output", "effect"]


@dataclass(frozen=True, slots=True)
class Wire:
    """One value that a node reads."""

    source: str
    parameter: str
    """Of `run`; `when` for the value that decides whether the node runs, which no parameter gets."""
    label: str = ""
    """What the names at both ends do not say: `as question`, `each candidate`, `when not flagged`."""


@dataclass(frozen=True, slots=True)
class Item:
    """One value, or one effect."""

    name: str
    kind: Kind
    use: str
    """Stage or resource as YAML names it; `given` for what is given."""
    type: str
    wires: tuple[Wire, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    inside: Picture | None = None
    """Of a pipeline used as a stage."""


@dataclass(frozen=True, slots=True)
class Picture:
    name: str
    items: tuple[Item, ...]
    """Every item stands after those its wires come from."""

    @classmethod
    def of(cls, pipeline: Pipeline) -> Picture:
        outside = {name: _resource(one) for name, one in pipeline.resources.items()}
        return cls(printed(pipeline.name), tuple(_items(pipeline.graph, outside)))

    def everything(self) -> Iterator[Item]:
        """All items, those inside others included."""
        for item in self.items:
            yield item
            yield from item.inside.everything() if item.inside else ()


def _items(graph: Graph, outside: Mapping[str, Item]) -> Iterator[Item]:
    there: dict[str, Item] = {}
    made = {node.name for node in graph.nodes}
    for node in graph.nodes:
        for name in node.reads():
            if name not in there and name not in made:
                kind = type_name(graph.inputs[name].type)
                given = outside.get(name) or Item("", "given", "given", "")
                there[name] = dataclasses.replace(given, name=printed(name), type=kind)
                yield there[name]
        there[node.name] = _item(node, node.name == graph.output, there)
        yield there[node.name]


def _item(node: Node, is_output: bool, there: Mapping[str, Item]) -> Item:
    kind: Kind = "output" if is_output else "effect" if node.makes is NoneType else "value"
    inside, options = None, _options(node.stage)
    if isinstance(node.stage, Graph):
        wired = {to: there[source] for to, source in node.sources.items() if there[source].kind == "resource"}
        inside, options = Picture(printed(node.use.partition("/")[2]), tuple(_items(node.stage, wired))), ()
    return Item(node.name, kind, printed(node.use), type_name(node.makes), tuple(_wires(node)), options, inside)


def _wires(node: Node) -> Iterator[Wire]:
    for parameter, source in node.sources.items():
        label = f"each {parameter}" if parameter == node.each else f"as {parameter}" if parameter != source else ""
        yield Wire(printed(source), parameter, label)
    if node.when:
        value = printed(node.when.value)
        yield Wire(value, "when", f"when {'' if node.when.wanted else 'not '}{value}")


def _resource(one: Resource) -> Item:
    return Item("", "resource", printed(one.use), "", options=_options(one.options))


def _options(made: Any) -> tuple[tuple[str, str], ...]:
    if not dataclasses.is_dataclass(made):
        return ()
    return tuple((one.name, shown(getattr(made, one.name))) for one in dataclasses.fields(made) if one.init)
