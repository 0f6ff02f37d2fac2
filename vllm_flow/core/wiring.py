"""Wiring: from parsed nodes to a Graph, or to everything that is wrong with their edges.

A node whose stage is unknown makes a value of type Any, so that one fault is one message and its readers are not
blamed.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from vllm_flow.core.errors import listed, nearest
from vllm_flow.core.graph import Condition, Graph, Node
from vllm_flow.core.ports import Port, Ports, fits, many, optional, type_name

Report = Callable[[tuple[str, ...], str], None]
"""Called with a path that starts with `graph` or `output`, and the problem."""


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
    sound: bool = True
    """False when its `from`, `each` or `when` could not be read, so that nobody knows all it asks for."""

    def asks(self) -> Iterator[tuple[str, str, Port]]:
        """Parameter of `run`, the value it is to get, and what is needed of that."""
        for parameter, port in self.ports.inputs.items() if self.ports else ():
            spread, named = parameter == self.each, parameter in self.renames
            wanted = Port(many(port.type) if spread else port.type, port.required or named or spread)
            yield parameter, self.renames.get(parameter, parameter), wanted


@dataclass
class Wiring:
    """Connects the drafts of one table. `free` says that unknown names become inputs: a pipeline used as a stage."""

    drafts: Mapping[str, Draft]
    output: str | None
    given: Mapping[str, Any]
    free: bool
    report: Report
    types: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, Port] = field(default_factory=dict)
    dangling: bool = False
    """A name led nowhere. The value it was meant for then looks unread, and is not to blame."""

    def connect(self) -> Graph:
        """The graph. It is only fit to run when nothing was reported."""
        self.types = {**self.given, **{name: made_type(draft) for name, draft in self.drafts.items()}}
        if self.free:
            self._find_inputs()
        for name, draft in self.drafts.items():
            if draft.when and draft.when.value not in self.types:
                self.types[name] = Any
        nodes = {name: self._wire(draft) for name, draft in self.drafts.items()}
        ordered = self._order(nodes)
        self._check_output()
        if not self.dangling and all(draft.ports and draft.sound for draft in self.drafts.values()):
            self._check_all_read(nodes)
        return Graph(tuple(ordered), self.output or "", self.types.get(self.output or "", Any), self.inputs)

    def _find_inputs(self) -> None:
        """Required names that nobody makes are inputs, each of the narrowest type its readers ask for."""
        for draft in self.drafts.values():
            wanted = [(source, port.type) for _, source, port in draft.asks() if port.required]
            wanted += [(draft.when.value, Any)] if draft.when else []
            for name, kind in wanted:
                known = self.inputs.get(name, Port(Any)).type
                if name in self.inputs or name not in self.types:
                    narrower = known is Any or (kind is not Any and fits(kind, known))
                    self.inputs[name] = Port(kind if narrower else known)
                    self.types[name] = self.inputs[name].type

    def _wire(self, draft: Draft) -> Node:
        sources: dict[str, str] = {}
        for parameter, source, port in draft.asks():
            place = ("from", parameter) if parameter in draft.renames else ()
            if self._available(("graph", draft.name, *place), source, port, draft):
                sources[parameter] = source
        self._check_words(draft)
        made = self.types[draft.name]
        return Node(draft.name, draft.use, draft.stage, sources, draft.each, draft.when, draft.blocking, made)

    def _available(self, place: tuple[str, ...], source: str, port: Port, draft: Draft) -> bool:
        if source not in self.types:
            if port.required:
                self.dangling = True
                self.report(place, f"nothing makes '{source}', which {draft.use} asks for.{self._existing(source)}")
            return False
        self._note_input(source)
        if not fits(self.types[source], port.type):
            self.dangling = True
            self.report(place, self._mismatch(source, port.type, draft))
        return True

    def _note_input(self, source: str) -> None:
        if source not in self.drafts:
            self.inputs.setdefault(source, Port(self.types[source]))

    def _mismatch(self, source: str, wanted: Any, draft: Draft) -> str:
        maker = self.drafts.get(source)
        by = f", made by {maker.use}," if maker else ""
        why = " because of its `when`" if maker and maker.when and fits(made_type(maker, skipped=False), wanted) else ""
        others = {name: made for name, made in self.types.items() if made not in (Any, types.NoneType)}
        right = [name for name, made in others.items() if name != draft.name and fits(made, wanted)]
        advice = f"Values that fit: {listed(right)}; wire one with `from`." if right else "No value here fits."
        kind = type_name(self.types[source])
        return f"'{source}'{by} is {kind}{why}, but {draft.use} needs {type_name(wanted)}. {advice}"

    def _check_words(self, draft: Draft) -> None:
        """`from`, `each` and `when` name parameters and values that exist."""
        asked = draft.ports.inputs if draft.ports else {}
        named = [("from", parameter) for parameter in draft.renames] + ([("each", draft.each)] if draft.each else [])
        for word, parameter in named if draft.ports else ():
            if parameter not in asked:
                self.dangling = True
                place = ("graph", draft.name, word, *((parameter,) if word == "from" else ()))
                what = f"{draft.use} has no parameter '{parameter}'.{nearest(parameter, asked)}"
                self.report(place, f"{what} It asks for: {listed(asked)}.")
        if draft.when and draft.when.value not in self.types:
            self.dangling = True
            what = f"nothing makes '{draft.when.value}', which decides whether this node runs."
            self.report(("graph", draft.name, "when"), what + self._existing(draft.when.value))
        elif draft.when:
            self._note_input(draft.when.value)

    def _existing(self, name: str) -> str:
        values = [one for one, kind in self.types.items() if kind is not types.NoneType]
        return f"{nearest(name, values)} There are: {listed(values)}."

    def _order(self, nodes: Mapping[str, Node]) -> list[Node]:
        # Lists, not sets: the order of equals must be the order of the file, never that of hashes.
        edges = {name: [one for one in node.reads() if one in nodes] for name, node in nodes.items()}
        try:
            return [nodes[name] for name in TopologicalSorter(edges).static_order()]
        except CycleError as error:
            round_trip = " → ".join(reversed(error.args[1]))
            what = f"the values need each other in a circle: {round_trip}. Wire one of them to another value."
            self.report(("graph",), what)
            return list(nodes.values())

    def _check_output(self) -> None:
        values = [name for name in self.drafts if self.types[name] is not types.NoneType]
        if self.output is None:
            problem = "it is missing. Name the value that is the answer."
        elif self.output not in self.drafts:
            problem = f"no node makes '{self.output}'.{nearest(self.output, values)}"
        elif self.output not in values:
            problem = f"'{self.output}' is no value: {self.drafts[self.output].use} is kept for its effect."
        else:
            return
        self.dangling = True
        self.report(("output",), f"{problem} There are: {listed(values)}.")

    def _check_all_read(self, nodes: Mapping[str, Node]) -> None:
        read = {name for node in nodes.values() for name in node.reads()} | {self.output}
        what = "nobody reads this value, and it is not the output. Read it, name it as output, or remove the node."
        for name in self.drafts:
            if self.types[name] is not types.NoneType and name not in read:
                self.report(("graph", name), what)


def made_type(draft: Draft, *, skipped: bool = True) -> Any:
    """The type of a node's value; with `skipped`, what its `when` leaves it to be is counted too."""
    if draft.ports is None or (draft.each and draft.each not in draft.ports.inputs):
        return Any
    made = draft.ports.output
    if draft.each and made is not types.NoneType:
        made = many(made)
    return optional(made) if draft.when and skipped else made
