"""Whether a schema that refers to itself has values: one that always holds another of itself is never complete."""

from __future__ import annotations

from typing import Any

from vllm_flow.core.phrases import JsonSchema
from vllm_flow.core.schema_words import kinds_of


def endless(schema: JsonSchema) -> list[str]:
    """The names in `$defs` that have no value that ends."""
    definitions: dict[str, Any] = schema.get("$defs", {})
    ending: set[str] = set()
    while more := {name for name in definitions.keys() - ending if _ends(definitions[name], ending)}:
        ending |= more
    return [name for name in definitions if name not in ending]


def _ends(schema: Any, ending: set[str]) -> bool:
    """Whether some value of it ends, when those of `ending` do."""
    if "$ref" in schema:
        return schema["$ref"].removeprefix("#/$defs/") in ending
    if "anyOf" in schema:
        return any(_ends(one, ending) for one in schema["anyOf"])
    return "type" not in schema or any(_ends_as(kind, schema, ending) for kind in kinds_of(schema))


def _ends_as(kind: str, schema: JsonSchema, ending: set[str]) -> bool:
    """Whether some value of this type does."""
    if kind == "object":
        properties = schema.get("properties", {})
        return all(_ends(properties[name], ending) for name in schema.get("required", ()))
    if kind != "array":
        return True
    least, first = schema.get("minItems", 0), schema.get("prefixItems", [])
    if not all(_ends(one, ending) for one in first[:least]):
        return False
    return least <= len(first) or "items" not in schema or schema["items"] is False or _ends(schema["items"], ending)
