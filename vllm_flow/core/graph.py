"""The table itself: nodes in running order, each saying which stage makes its value and from which other values.

A pipeline is a table of named values. The node's name is the name of its value; parameter names are the edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.ports import Port


@dataclass(frozen=True, slots=True)
class Condition:
    """`when: value` or `when: not value`."""

    value: str
    wanted: bool

    @classmethod
    def parse(cls, text: str) -> Condition:
        negated = text.startswith("not ")
        return cls(text.removeprefix("not ").strip(), not negated)

    def holds(self, values: Mapping[str, Any]) -> bool:
        return bool(values[self.value]) is self.wanted


@dataclass(frozen=True, slots=True)
class Node:
    """One line of the table."""

    name: str
    use: str
    stage: Any
    """The stage to run, or the Graph of a pipeline used as a stage."""
    sources: Mapping[str, str]
    """Parameter of `run` → name of the value it gets."""
    each: str | None = None
    """The parameter that gets one item of its source's tuple at a time."""
    when: Condition | None = None
    blocking: bool = False
    makes: Any = Any
    """The type of the value."""

    def reads(self) -> tuple[str, ...]:
        """Names of all values this node needs before it can run."""
        return (*self.sources.values(), *((self.when.value,) if self.when else ()))


@dataclass(frozen=True, slots=True)
class Graph:
    """Nodes in running order, and which of their values is the answer."""

    nodes: tuple[Node, ...]
    output: str
    output_type: Any
    inputs: Mapping[str, Port]
    """Values read here but made outside: `turn`, `sampling`, resources, and what a nested pipeline is given."""
