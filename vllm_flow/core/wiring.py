"""Wiring: from parsed nodes to a Graph, or to everything that is wrong with their edges.

A node whose stage is unknown makes a value of type Any, so that one fault is one message and its readers are not
blamed.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.graph import Condition, Graph, Node
from vllm_flow.core.ports import Port, Ports, element, fits, many, optional, type_name

Report = Callable[[tuple[str, ...], str], None]
"""Called with a path below `graph` (or `output`) and the problem."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A node as written, checked on its own but not yet wired. `ports` is None when its stage is unknown."""

    name: str
    use: str
    stage: Any
    ports: Ports | None
    renames: Mapping[str, str]
    each: str | None = None
    when: Condition | None = None
    blocking: bool = False


@dataclass
class Wiring:
    """Connects the drafts of one table. `free` says that unknown names become inputs: a pipeline used as a stage."""

    drafts: Mapping[str, Draft]
    output: str
    given: Mapping[str, Any]
    free: bool
    report: Report
    types: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Port] = field(default_factory=dict)

    def connect(self) -> Graph:
        """The graph. It is only fit to run when nothing was reported."""
        self.types = {**self.given, **{name: self._made_type(draft) for name, draft in self.drafts.items()}}
        nodes = {name: self._wire(draft) for name, draft in self.drafts.items()}
        ordered = self._order(nodes)
        self._check_output()
        if all(draft.ports for draft in self.drafts.values()):
            self._check_all_read(nodes)
        return Graph(tuple(ordered), self.output, self.types.get(self.output, Any), self.inputs)

    def _made_type(self, draft: Draft) -> Any:
        if draft.ports is None:
            return Any
        made = draft.ports.output
        if draft.each and made is not types.NoneType:
            made = many(made)
        return optional(made) if draft.when else made

    def _wire(self, draft: Draft) -> Node:
        sources: dict[str, str] = {}
        ports = draft.ports.inputs if draft.ports else {}
        for parameter, port in ports.items():
            source = draft.renames.get(parameter, parameter)
            wanted = many(port.type) if parameter == draft.each else port.type
            place = (draft.name, "from", parameter) if parameter in draft.renames else (draft.name,)
            if self._available(place, source, Port(wanted, port.required or parameter in draft.renames), draft):
                sources[parameter] = source
        self._check_each(draft)
        if draft.when and draft.when.value not in self.types:
            what = f"nothing makes '{draft.when.value}', which decides whether this node runs."
            self.report((draft.name, "when"), what + self._existing(draft.when.value))
        made = self.types[draft.name]
        return Node(draft.name, draft.use, draft.stage, sources, draft.each, draft.when, draft.blocking, made)

    def _available(self, place: tuple[str, ...], source: str, port: Port, draft: Draft) -> bool:
        if source not in self.types:
            if self.free and port.required:
                self.inputs[source] = port
                self.types[source] = port.type
                return True
            if port.required:
                self.report(place, f"nothing makes '{source}', which {draft.use} asks for.{self._existing(source)}")
            return False
        if source not in self.drafts:
            self.inputs.setdefault(source, Port(self.types[source]))
        given = self.types[source]
        if not fits(given, port.type):
            self.report(place, self._mismatch(source, given, port.type))
        return True

    def _mismatch(self, source: str, given: Any, wanted: Any) -> str:
        maker = self.drafts.get(source)
        by = f", made by {maker.use}," if maker else ""
        why = " because of its `when`" if maker and maker.when and fits(maker_type(maker), wanted) else ""
        right = listed(name for name, made in self.types.items() if made is not Any and fits(made, wanted))
        return (
            f"'{source}'{by} is {type_name(given)}{why}, but {type_name(wanted)} is needed here."
            f" Values that fit: {right}; wire one with `from`."
        )

    def _check_each(self, draft: Draft) -> None:
        if not draft.each or draft.ports is None:
            return
        if draft.each not in draft.ports.inputs:
            what = f"{draft.use} has no parameter '{draft.each}'.{nearest(draft.each, draft.ports.inputs)}"
            self.report((draft.name, "each"), f"{what} It asks for: {listed(draft.ports.inputs)}.")

    def _existing(self, name: str) -> str:
        return f"{nearest(name, self.types)} There are: {listed(self.types)}."

    def _order(self, nodes: Mapping[str, Node]) -> list[Node]:
        # Lists, not sets: the order of equals must be the order of the file, never that of hashes.
        edges = {name: [one for one in node.reads() if one in nodes] for name, node in nodes.items()}
        try:
            return [nodes[name] for name in TopologicalSorter(edges).static_order()]
        except CycleError as error:
            round_trip = " → ".join(reversed(error.args[1]))
            self.report((), f"the values need each other in a circle: {round_trip}. Wire one of them to another value.")
            return list(nodes.values())

    def _check_output(self) -> None:
        made = {name: kind for name, kind in self.types.items() if name in self.drafts}
        if self.output not in made:
            values = [name for name, kind in made.items() if kind is not types.NoneType]
            what = f"no node makes '{self.output}'.{nearest(self.output, values)}"
            self.report(("output",), f"{what} There are: {listed(values)}.")
        elif made[self.output] is types.NoneType:
            use = self.drafts[self.output].use
            self.report(
                ("output",), f"'{self.output}' is no value: {use} is kept for its effect. Name a node with a value."
            )

    def _check_all_read(self, nodes: Mapping[str, Node]) -> None:
        read = {name for node in nodes.values() for name in node.reads()} | {self.output}
        for name, draft in self.drafts.items():
            if self.types[name] is not types.NoneType and name not in read and draft.ports:
                self.report((name,), "nobody reads this value, and it is not the output. Read it, or remove the node.")


def maker_type(draft: Draft) -> Any:
    """The type a node makes when its `when` holds."""
    made = draft.ports.output if draft.ports else Any
    return made if element(made) is None or not draft.each else many(made)
