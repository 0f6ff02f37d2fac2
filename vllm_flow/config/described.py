"""Described: what a dataclass accepts, as an editor wants it: explained, with defaults, and open to references.

In a file any value may still be `${…}` or `???`. That is told apart from other texts by `pattern`, which no number or
mapping is asked about, and not by alternatives: of alternatives an editor guesses which was meant, and so its line.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Iterator
from typing import Any

from vllm_flow.core.describe import default_of, field_docs, paragraphs
from vllm_flow.core.moving import Moving
from vllm_flow.core.options import ChangesOf, by_key, schema_of
from vllm_flow.core.phrases import NOUNS, JsonSchema
from vllm_flow.core.sampling_plan import SamplingPlan

REFERENCE = r"^\?\?\?$|\$\{"
KINDS = {**NOUNS, "object": "a mapping", "array": "a list", "null": "null"}
Classes = tuple[type, ...]
MOVING, CHANGES = "#/$defs/Moving", "#/$defs/Changes"
"""What takes a schedule, and sampling parameters in place of others: described once, for schedules hold schedules."""


def described(cls: type) -> JsonSchema:
    """The schema of a dataclass. Raises TypeError or NameError when an option's type cannot be read."""
    hints, docs = typing.get_type_hints(cls, include_extras=True), field_docs(cls)
    fields = by_key(cls)
    schema = schema_of(cls)
    properties = {}
    for key, option in schema["properties"].items():
        name = fields[key].name
        about = {"description": paragraphs(docs[name])} if name in docs else {}
        inner = tuple(_classes(hints[name]))
        properties[key] = {**opened(option, inner), **about, **_default(fields[key])}
    return {"description": summary(cls), **schema, "properties": properties}


def summary(cls: type) -> str:
    return (inspect.getdoc(cls) or "").partition("\n")[0]


def opened(schema: JsonSchema, classes: Classes = ()) -> JsonSchema:
    """`schema`, but a reference is accepted too, here and below; `classes` are those whose schemas may lie in it."""
    if schema.get("properties") == SamplingPlan.option_schema()["properties"]:
        return {"$ref": CHANGES}
    if Moving.option_schema() in (schema, *schema.get("anyOf", ())):
        moving: JsonSchema = {"$ref": MOVING}
        return {"anyOf": [moving, {"type": "null"}]} if {"type": "null"} in schema["anyOf"] else moving
    options = [_inside(one, classes) for one in _alternatives(schema)]
    kinds = [one.get("type") for one in options]
    if {} in options:
        return {}
    if "string" not in kinds:
        options.append(reference(kinds))
    keys = [key for one in options for key in one if key != "type"]
    if len(options) == 1 or (all("type" in one for one in options) and len(keys) == len(set(keys))):
        types = [one.get("type") for one in options]
        return {key: value for one in options for key, value in one.items()} | ({"type": types} if types[1:] else {})
    return {"anyOf": options}


def reference(kinds: typing.Sequence[str | None]) -> JsonSchema:
    """The text that stands for a value of one of these kinds."""
    wanted = ", ".join(KINDS[kind] for kind in kinds if kind)
    about = {"patternErrorMessage": f"It takes {wanted}, or ${{KEY}}, or ???."} if wanted else {}
    return {"type": "string", "pattern": REFERENCE, **about}


def _alternatives(schema: JsonSchema) -> Iterator[JsonSchema]:
    if "anyOf" not in schema:
        yield schema
    for one in schema.get("anyOf", ()):
        yield from _alternatives(one)


def _inside(schema: JsonSchema, classes: Classes) -> JsonSchema:
    """One alternative, with everything in it described and opened."""
    if "properties" in schema:
        cls = next(cls for cls in classes if schema_of(cls)["properties"] == schema["properties"])
        return {**described(cls), "required": schema["required"]}
    below: JsonSchema = {
        key: opened(schema[key], classes) for key in ("items", "additionalProperties") if key in schema
    }
    return {**schema, **below}


def _classes(hint: Any) -> Iterator[type]:
    """Every dataclass that an annotation speaks of."""
    if isinstance(hint, ChangesOf):
        yield hint.cls
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for one in typing.get_args(hint):
        yield from _classes(one)


def _default(field: dataclasses.Field[Any]) -> JsonSchema:
    """Null is left out: nobody needs help to write it, and yaml-language-server 1.25 cannot complete beside it."""
    made = default_of(field)
    return {} if made is None else {"default": made}
