"""Graphs to draw: seeded random ones with every word a node knows, and one whose every name is hostile."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from types import NoneType

from vllm_flow.core.graph import Condition, Graph, Node
from vllm_flow.core.messages import Text
from vllm_flow.core.pipeline import Pipeline, Resource
from vllm_flow.core.ports import Port
from vllm_flow.core.resources import Engine
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.values import Completion, Turn
from vllm_flow.engines.echo import Echo
from vllm_flow.stages.fuse import Chat

SEEDS = range(40)
HOSTILE = "\x1b[31m\n</title><script>alert('1')</script>\"|]--> ;#`é名前\u202e\ufffe\ud800" + "x" * 300
SHOWN = "\\x1b[31m\\n</title><script>alert('1')</script>\"|]--> ;#`é名前\\u202e\\ufffe\\ud800" + "x" * 300
"""What is drawn of it."""
WIDE = "名前" * 8
Edges = Counter[tuple[str, str, str]]
"""Source, target, and what stands at the wire."""


@dataclass(frozen=True)
class Plain:
    """A stage without options."""


def a_pipeline(seed: int) -> Pipeline:
    random = Random(seed)
    engine = Resource("engine", "engine/echo", Echo(), Engine, shared=True)
    return Pipeline(f"random {seed}", a_graph(random, random.randint(1, 18), depth=2), {"engine": engine}, Sampling())


def a_graph(random: Random, size: int, depth: int) -> Graph:
    outside = {"turn": Port(Turn), "sampling": Port(Sampling), "engine": Port(Engine)}
    values, nodes = list(outside), []
    for number in range(size):
        read = random.sample(values, random.randint(0 if number else 1, min(4, len(values))))
        sources = {name if random.random() < 0.6 else f"p{place}": name for place, name in enumerate(read)}
        nested = depth > 0 and random.random() < 0.15
        stage = a_graph(random, random.randint(1, 5), depth - 1) if nested else Plain()
        last = number == size - 1
        nodes.append(
            Node(
                f"v{number}", f"pipeline/inner{number}" if nested else "role/manner", stage, sources,
                each=random.choice([None, None, *sources]),
                when=random.choice([None, None, Condition(random.choice(values), random.random() < 0.5)]),
                makes=Completion if last else random.choice([Text, Text, tuple[Text, ...], NoneType]),
            )
        )  # fmt: skip
        values += [f"v{number}"] if nodes[-1].makes is not NoneType else []
    return Graph(tuple(nodes), f"v{size - 1}", Completion, outside)


def hostile_pipeline() -> Pipeline:
    """Names as YAML may give them: of a node an identifier, of a resource, a file and an option anything."""
    kind = type("字" * 40, (), {})
    inner = Graph((Node("reply", "a/b", Chat(HOSTILE), {"engine": "engine"}, makes=kind),), "reply", kind,
                  {"engine": Port(Engine)})  # fmt: skip
    nodes = (
        Node(WIDE, "a/b", Chat(HOSTILE), {"turn": "turn", "engine": HOSTILE}, makes=kind),
        Node("x" * 300, f"pipeline/{HOSTILE}", inner, {"engine": HOSTILE}, when=Condition(WIDE, True), makes=kind),
        Node("end", "a/b", Chat("%%{init: {}}%%"), {"a": WIDE, "b": "x" * 300}, makes=kind),
    )
    resource = Resource(HOSTILE, HOSTILE, Chat(HOSTILE), Engine, shared=True)
    return Pipeline(HOSTILE, Graph(nodes, "end", kind, {"turn": Port(Turn), HOSTILE: Port(Engine)}),
                    {HOSTILE: resource}, Sampling())  # fmt: skip


def edges(graph: Graph) -> Edges:
    """Every wire of one graph as it is drawn, those inside its pipelines left out."""
    found: Edges = Counter()
    for node in graph.nodes:
        for parameter, source in node.sources.items():
            label = f"each {parameter}" if parameter == node.each else f"as {parameter}"
            found[source, node.name, "" if label == f"as {source}" else label] += 1
        if node.when:
            word = "when" if node.when.wanted else "when not"
            found[node.when.value, node.name, f"{word} {node.when.value}"] += 1
    return Counter({(source.replace(HOSTILE, SHOWN), *others): count for (source, *others), count in found.items()})


def inside(graph: Graph) -> dict[str, Graph]:
    """The graphs of the pipelines in it, by the names of their nodes."""
    return {node.name: node.stage for node in graph.nodes if isinstance(node.stage, Graph)}
