"""Schedules as a configuration writes them: what an editor checks of them, and an example of each that fits.

In place of a number stands a mapping of one name. Its rules speak of mappings alone and are put beside those of the
number, so that nobody who wrote a wrong number is told about schedules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from vllm_flow.config.described import REFERENCE, described
from vllm_flow.core import registry
from vllm_flow.core.moving import Moving
from vllm_flow.core.options import schema_of
from vllm_flow.core.phrases import JsonSchema
from vllm_flow.core.ranges import RANGES
from vllm_flow.core.sampling import Sampling

OF_A_PACKAGE = r"^[\w.-]+:[\w-]+$"
WHOLE = {"$ref": "#/$defs/Schedule"}
USUAL = {
    "from": 1.0, "to": 0.2, "over": 256, "low": 0.2, "high": 1.0, "period": 64, "factor": 0.5, "every": 64, "after": 64,
    "value": 0.7, "points": [[0, 1.0], [64, 0.5]], "t0": 1.0, "start": 0.7, "gain": 0.1, "most": 256, "tokens": 1000,
}  # fmt: skip
"""What options are in an example, by the names that schedules share; any other has the least that it takes."""
CURVE = ("from", "to", "over")


def example(entry: registry.Entry) -> Any:
    """A schedule with what it needs and no more: its name alone, or `{linear: {from: 1.0, to: 0.2, over: 256}}`."""
    schema = schema_of(entry.cls)
    others = [name for name in schema["properties"] if name not in schema["required"]]
    given = {name: _sample(name, schema) for name in schema["required"]}
    while others and given and any(Moving.option_problems({entry.name: given})):  # of several it takes one
        name = others.pop(0)
        given[name] = _sample(name, schema)
    return {entry.name: given} if given else entry.name


def _sample(name: str, schema: JsonSchema) -> Any:
    return USUAL.get(name, _least(schema["properties"][name]))


def parameter(entry: registry.Entry) -> str:
    """A parameter that it may steer."""
    steers = getattr(entry.cls, "steers", None)
    return min(steers) if isinstance(steers, frozenset) and steers else "temperature"


def sampling(names: Iterable[str]) -> JsonSchema:
    """Of the sampling parameters, each number of which may be a schedule instead, by its name alone one of `names`."""
    schema = described(Sampling)
    moving = {name: may_move(one, names) for name, one in schema["properties"].items() if name in RANGES}
    return {**schema, "properties": schema["properties"] | moving}


def may_move(number: JsonSchema, names: Iterable[str]) -> JsonSchema:
    """The schema of a number, which already takes references, but a schedule is accepted, too."""
    kinds = [*number["type"], "object"] if isinstance(number["type"], list) else [number["type"], "string", "object"]
    pattern = "|".join([*(f"^{re.escape(name)}$" for name in sorted(names)), OF_A_PACKAGE, REFERENCE])
    told = str(number.get("patternErrorMessage", "It takes a number, or ${KEY}, or ???."))
    about = {"patternErrorMessage": told.replace(", or ${KEY}", ", a schedule, or ${KEY}")}
    return {**number, "type": kinds, "pattern": pattern, **about, "allOf": [WHOLE]}


def whole(own: Mapping[str, str], options: Mapping[str, JsonSchema], examples: list[Any]) -> JsonSchema:
    """A mapping of one schedule to its options. It has no type, for whoever refers to it accepts other things, too."""
    known = {name: _options(schema) for name, schema in options.items()}
    known |= {name: {"description": about} for name, about in own.items() if name not in known}
    return {
        "description": "A schedule: its name, and its options below it.",
        "examples": examples,
        "minProperties": 1,
        "maxProperties": 1,
        "properties": known,
        "patternProperties": {OF_A_PACKAGE: True},
        "additionalProperties": False,
    }


def _options(schema: JsonSchema) -> JsonSchema:
    """Options in a mapping; of a schedule that needs one alone, `constant: 0.7` and `sum: [a, b]` give that."""
    if "properties" not in schema:
        return schema
    first = next(iter(schema["properties"].items()), ("", {"type": "string", "pattern": REFERENCE}))
    others = set(schema["required"]) - {first[0]}
    short = {} if others or "$ref" in first[1] else first[1]
    kinds = short.get("type", "string")
    kinds = ["object", *(kinds if isinstance(kinds, list) else [kinds])] + ["null"] * (not schema["required"])
    rest = {key: value for key, value in short.items() if key not in ("description", "default", "type")}
    return {"pattern": REFERENCE, **rest, **schema, "type": kinds}


def _least(schema: JsonSchema) -> Any:
    """A value that fits."""
    if "enum" in schema:
        return schema["enum"][0]
    kinds = {one.get("type"): one for one in schema.get("anyOf", (schema,))}
    if "object" in kinds and "number" in kinds:  # a schedule
        return {"linear": {name: USUAL[name] for name in CURVE}}
    if "array" in kinds:
        return [_least(kinds["array"]["items"]), 0.1]
    number = kinds.get("integer") or kinds.get("number")
    if number is None:
        return "TEXT"
    low = number.get("minimum", number.get("exclusiveMinimum", 0))
    most = number.get("maximum", low + 2)
    return low if "minimum" in number else (low + most) / 2 if "number" in kinds else low + 1
