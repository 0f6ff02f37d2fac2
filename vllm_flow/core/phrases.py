"""Phrases: what a JSON Schema asks for, in words, the same in every message, in `ls` and in an editor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vllm_flow.core.errors import listed

JsonSchema = dict[str, Any]
NOUNS = {"integer": "an integer", "number": "a number", "string": "a text", "boolean": "true or false"}


def takes(schema: JsonSchema) -> str:
    """The schema as a phrase: `a number from 0 to 1`, `one of: a, b`, `an integer of 1 or more, or null`."""
    if "title" in schema:
        return str(schema["title"])
    if "enum" in schema:
        return "one of: " + ", ".join(map(str, schema["enum"]))
    if "anyOf" in schema:
        return ", or ".join(dict.fromkeys(_alternatives(schema)))
    kind = schema.get("type")
    if kind == "null":
        return "null"
    if kind == "array":
        return f"a list, each item {takes(schema['items'])}"
    if kind == "object":
        keys = listed(schema.get("properties", {}))
        return f"a mapping with: {keys}" if keys != "none" else "a mapping"
    text = " that is not empty" if "minLength" in schema else " of digits" if "pattern" in schema else ""
    return NOUNS.get(str(kind), "a value") + _range(schema) + text


def _alternatives(schema: JsonSchema) -> Iterator[str]:
    """Each by itself, those within alternatives too; several may read alike."""
    for one in schema.get("anyOf", ()):
        yield from _alternatives(one) if "anyOf" in one else (takes(one),)


def _range(schema: JsonSchema) -> str:
    low, high, floor = schema.get("minimum"), schema.get("maximum"), schema.get("exclusiveMinimum")
    if low is not None and high is not None:
        return f" from {low} to {high}"
    if floor is not None:
        return f" above {floor}" + (f" and at most {high}" if high is not None else "")
    if low is not None:
        return f" of {low} or more"
    return f" of {high} or less" if high is not None else ""
