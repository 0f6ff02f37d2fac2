"""`vllm-flow check key=value …`: everything that can be known before anything runs. Imports no torch."""

from __future__ import annotations

import json

from vllm_flow.cli.words import table, take_flags
from vllm_flow.core.graph import Graph
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.ports import type_name

HELP = """usage: vllm-flow check [--json] [key=value ...]

Composes and checks a configuration as `vllm-flow` would run it. Prints the table of named values, in running order;
prints every fault, one line each, and exits with 2 if there is one. Loads no model and writes nothing.
"""


def main(arguments: list[str]) -> int:
    flags, overrides = take_flags(arguments, {"--json": "json", "--help": "help", "-h": "help"})
    if "help" in flags:
        print(HELP, end="")
        return 0
    from vllm_flow.config import compose

    spec = compose(overrides)
    pipeline = Pipeline.build(spec)
    rows = list(_rows(pipeline.graph))
    if "json" in flags:
        head = ("value", "made_by", "from", "type")
        nodes = [dict(zip(head, row, strict=True)) for row in rows]
        print(
            json.dumps({"pipeline": spec.name, "output": spec.output, "nodes": nodes, "fingerprint": spec.fingerprint})
        )
        return 0
    table(rows, ("value", "made by", "from", "type"))
    print(f"{spec.name}: {len(rows)} nodes, output '{spec.output}', no faults.")
    return 0


def _rows(graph: Graph, prefix: str = "") -> list[tuple[str, str, str, str]]:
    rows = []
    for node in graph.nodes:
        inner = node.stage if isinstance(node.stage, Graph) else None
        rows.append((prefix + node.name, node.use, ", ".join(node.reads()), type_name(node.makes)))
        if inner:
            rows += _rows(inner, f"{prefix}{node.name}/")
    return rows
