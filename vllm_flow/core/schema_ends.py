"""Whether a schema that refers to itself has values: one that always holds another of itself is never complete."""

from __future__ import annotations

from typing import Any

from vllm_flow.core.phrases import JsonSchema


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
    if isinstance(schema.get("type"), list) and set(schema["type"]) - {"object", "array"}:
        return True
    properties, required = schema.get("properties", {}), schema.get("required", ())
    if "properties" in schema and not all(_ends(properties[name], ending) for name in required):
        return False
    least, first = schema.get("minItems", 0), schema.get("prefixItems", [])
    if not all(_ends(one, ending) for one in first[:least]):
        return False
    return least <= len(first) or "items" not in schema or schema["items"] is False or _ends(schema["items"], ending)
