"""Calls as a shape: a schema by which a model can write nothing but a call of an offered function, as it wants it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vllm_flow.core.shape import Shape
from vllm_flow.core.tool_values import ToolSpec

NOTHING = "answer"
"""What stands for a function where none is needed any more."""


def shape_of(specs: Sequence[ToolSpec], must: bool) -> Shape:
    """One call as JSON. must: whether there is to be one; else it may also be that of `NOTHING`."""
    calls = [_call(one.name, _bare(one.parameters)) for one in specs]
    calls += [] if must else [_call(NOTHING, {"type": "object", "properties": {}, "additionalProperties": False})]
    return Shape.of_schema(calls[0] if len(calls) == 1 else {"anyOf": calls})


def _call(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    properties = {"name": {"const": name}, "arguments": arguments}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _bare(schema: Any) -> Any:
    """Without what describes and does not bind."""
    if isinstance(schema, Mapping):
        named = schema.get("properties")
        found = {key: _bare(one) for key, one in schema.items() if key not in ("description", "default", "title")}
        return {**found, "properties": {name: _bare(one) for name, one in named.items()}} if named else found
    return [_bare(one) for one in schema] if isinstance(schema, list) else schema
