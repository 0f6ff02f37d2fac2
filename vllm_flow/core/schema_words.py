"""The keywords of JSON Schema that an answer can be held to, and what each of them takes.

The subset is small on purpose: every text that is written under it is valid, whatever the model, and a keyword that
could not be kept is refused and never ignored. Meaning is that of draft 2020-12.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm_flow.core.phrases import JsonSchema

KINDS = ("object", "array", "string", "integer", "number", "boolean", "null")
FORMATS = ("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid")
"""A form that the text has; that there is such a host, or a 29th of February that year, is not looked into."""
NOTES = ("title", "description", "default", "examples", "$comment", "$schema", "$defs")
"""What holds an answer to nothing. No model sees it: say in the prompt what it should know."""
FORMS = ("$ref", "anyOf", "enum", "const", "type")
"""What says which values there are. One of them, but for a type beside enum or const."""
OF_KIND: dict[str, tuple[str, ...]] = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    "boolean": (),
    "null": (),
}
LARGEST = 2**53
"""Up to here every whole number is itself in every reader of JSON."""
MAPPING = {"title": "a mapping of names to schemas that is not empty", "type": "object", "minProperties": 1}
SCHEMAS = {"title": "a list of schemas that is not empty", "type": "array", "minItems": 1}
COUNT = {"type": "integer", "minimum": 0}
BOUND = {"type": "number", "minimum": -LARGEST, "maximum": LARGEST}
KIND = {"enum": list(KINDS)}
VALUES: dict[str, JsonSchema] = {
    "type": {"anyOf": [KIND, {"type": "array", "items": KIND, "minItems": 1, "uniqueItems": True}]},
    "enum": {"title": "a list of values that is not empty", "type": "array", "minItems": 1},
    "anyOf": SCHEMAS,
    "$ref": {"title": "a text such as '#/$defs/name'", "type": "string", "pattern": r"^#/\$defs/[\w.-]+$"},
    "$defs": MAPPING,
    "properties": MAPPING,
    "required": {"type": "array", "items": {"type": "string"}},
    "additionalProperties": {"title": "false alone: no other properties are written", "enum": [False]},
    "prefixItems": SCHEMAS,
    "minItems": COUNT,
    "maxItems": COUNT,
    "minLength": COUNT,
    "maxLength": COUNT,
    "pattern": {"type": "string"},
    "format": {"enum": list(FORMATS)},
    "multipleOf": {"type": "integer", "minimum": 1},
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), BOUND),
}


def kinds_of(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The types that it names."""
    named = schema.get("type", ())
    return (named,) if isinstance(named, str) else tuple(named)
