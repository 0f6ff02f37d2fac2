"""Lines: a pipeline's table of named values, wired from its files without composing them.

It is what `check` prints, but for faults: of a broken file it shows what can be read, and `check` says what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vllm_flow.cli.listing.imports import import_for
from vllm_flow.config.outline import outline
from vllm_flow.core import registry
from vllm_flow.core.graph import Condition, Graph
from vllm_flow.core.ports import Ports, ports_of, type_name
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.values import Turn
from vllm_flow.core.wiring import Draft, Wiring

NESTED = "pipeline/"


def lines_of(pipeline: str) -> dict[str, Any]:
    """`output`, `values` in running order, and as `problems` the code that cannot be imported."""
    found = outline({"pipeline": pipeline})
    lines = _Lines({"turn": Turn, "sampling": SamplingPlan})
    for name, one in _entries(found.get("resources")).items():
        ports = _ports_of(registry.resource, str(one.get("use")))
        lines.given[name] = ports.output if ports else Any
    graph = lines.graph(found, (pipeline,))
    values = [
        {"value": node.name, "made_by": node.use, "from": ", ".join(node.reads()), "type": type_name(node.makes)}
        for node in graph.nodes
    ]
    return {"output": graph.output, "values": values, "problems": lines.problems}


@dataclass
class _Lines:
    given: dict[str, Any]
    """Types of what every graph is given: turn, sampling parameters, resources."""
    problems: list[str] = field(default_factory=list)

    def graph(self, found: Mapping[str, Any], within: tuple[str, ...]) -> Graph:
        """The graph of an outline. What it lacks counts as given, too: `check` is to complain, not `ls`."""
        nodes = _entries(found.get("graph"))
        self.problems += import_for(nodes, found.get("plugins"))
        drafts = {name: self.draft(name, node, within) for name, node in nodes.items()}
        return Wiring(drafts, str(found.get("output")), self.given, True, lambda *_: None).connect()

    def draft(self, name: str, node: Mapping[str, Any], within: tuple[str, ...]) -> Draft:
        use, when, each, renames = (node.get(key) for key in ("use", "when", "each", "from"))
        return Draft(
            name,
            str(use),
            None,
            self.ports(str(use), within),
            {str(key): str(value) for key, value in renames.items()} if isinstance(renames, Mapping) else {},
            each if isinstance(each, str) else None,
            Condition.parse(when) if isinstance(when, str) else None,
        )

    def ports(self, use: str, within: tuple[str, ...]) -> Ports | None:
        if not use.startswith(NESTED):
            return _ports_of(registry.stage, use)
        name = use.removeprefix(NESTED)
        if name in within:
            return None
        graph = self.graph(outline({"pipeline": name}), (*within, name))
        return Ports(graph.inputs, graph.output_type)


def _ports_of(known: registry.Registry, use: str) -> Ports | None:
    entry = known.find(use)
    try:
        return ports_of(entry.cls, known.method) if entry else None
    except Exception:  # annotations are code
        return None


def _entries(table: Any) -> dict[str, Mapping[str, Any]]:
    rows = table.items() if isinstance(table, Mapping) else ()
    return {str(name): row for name, row in rows if isinstance(row, Mapping)}
