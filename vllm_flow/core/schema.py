"""A JSON Schema as an option: read from a configuration, and everything in it refused that no answer can be held to.

Faults are found at the place where they are written, without a model and without loading anything heavy. That some
value fits is found out by the library that holds the answers, part by part, so that its word stands beside the part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from vllm_flow.core.errors import listed, nearest, shown
from vllm_flow.core.grammar import LARGEST_UNASKED, problem_of_regex, problem_of_schema
from vllm_flow.core.options import OptionProblem, validator
from vllm_flow.core.phrases import JsonSchema, takes
from vllm_flow.core.schema_ends import endless
from vllm_flow.core.schema_words import FORMS, NOTES, OF_KIND, VALUES, kinds_of

Path = tuple[str, ...]
DECIMALS = 6


@dataclass(frozen=True, slots=True)
class Schema:
    """What has no `option_problems`."""

    text: str
    """Compact JSON, its keys in the order in which they were written."""

    @classmethod
    def option_schema(cls) -> JsonSchema:
        """Shallow: what stands inside is a schema of somebody else's."""
        return {"title": "a JSON Schema, written as a mapping", "type": "object"}

    @classmethod
    def option_problems(cls, given: Mapping[str, Any]) -> Iterator[OptionProblem]:
        """Everything that is wrong with it, each at its place."""
        yield from schema_problems(given)

    @classmethod
    def option_read(cls, given: Mapping[str, Any]) -> Self:
        return cls(json.dumps(_plain(given), separators=(",", ":")))

    def option_written(self, defaults: bool) -> Any:
        return json.loads(self.text)


def schema_problems(given: Mapping[str, Any]) -> list[OptionProblem]:
    """Everything in a schema that no answer can be held to; empty when one can."""
    if found := list(_unwritable(given, ())):
        return found
    schema = _plain(given)
    found = list(_walk(schema, (), schema))
    if not found:
        found = [OptionProblem(("$defs", name), ENDLESS) for name in endless(schema)]
    if not found and (problem := problem_of_schema(schema)):
        found = [OptionProblem((), problem)]
    return found


ENDLESS = (
    "it never ends: whatever it is, it holds another of itself. Leave the property that does so out of `required`, or "
    "write anyOf with an end beside it."
)


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _unwritable(value: Any, path: Path) -> Iterator[OptionProblem]:
    """What JSON cannot hold; YAML knows more kinds of values."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                yield OptionProblem((*path, str(key)), f"the key {shown(key)} is no text. Put it in quotation marks.")
            else:
                yield from _unwritable(item, (*path, key))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _unwritable(item, (*path, str(place)))
    else:
        try:
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError):
            problem = f"{shown(value)} is nothing that JSON can hold. Write a text, a number, true, false or null."
            yield OptionProblem(path, problem)


def _walk(schema: Any, path: Path, root: JsonSchema) -> Iterator[OptionProblem]:
    """Of a schema and all those in it."""
    if not isinstance(schema, dict):
        yield OptionProblem(path, f"{shown(schema)} does not fit. It takes a schema: a mapping with one of {_forms()}.")
        return
    found = [*_strange(schema, path), *_unfitting(schema, path)]
    yield from found
    if not found:
        found = list(_own(schema, path, root))
        yield from found
    strange = {one.path[len(path)] for one in found if one.path != path}
    inner = [one for key, below in _below(schema) if key[0] not in strange for one in _walk(below, (*path, *key), root)]
    yield from inner
    if not (found or inner) and "$ref" not in schema and (problem := problem_of_schema({**schema, **_defs(root)})):
        yield OptionProblem(path, problem)


def _defs(root: JsonSchema) -> JsonSchema:
    return {"$defs": root["$defs"]} if "$defs" in root else {}


def _below(schema: JsonSchema) -> Iterator[tuple[Path, Any]]:
    """The schemas right in it, each with its path."""
    for key, value in schema.items():
        if key in ("properties", "$defs") and isinstance(value, dict):
            yield from (((key, name), below) for name, below in value.items())
        elif key in ("anyOf", "prefixItems") and isinstance(value, list):
            yield from (((key, str(place)), below) for place, below in enumerate(value))
        elif key == "items" and not (value is False and "prefixItems" in schema):
            yield (key,), value


def _strange(schema: JsonSchema, path: Path) -> Iterator[OptionProblem]:
    """Keywords that stand where they mean nothing that can be kept."""
    forms = [key for key in FORMS if key in schema]
    notes = [note for note in NOTES if note != "$defs" or not path]
    others = [key for key in schema if key not in FORMS and key not in notes]
    if len(forms) > 1 and forms not in (["enum", "type"], ["const", "type"]):
        yield OptionProblem(path, f"{' and '.join(forms)} stand together. Give one of {_forms()}.")
        return
    if not forms:
        for key in others:
            yield OptionProblem((*path, key), f"the keyword '{key}' is not supported here. Give one of {_forms()}.")
        if not others:
            yield OptionProblem(path, f"it does not say which values there are. Give one of {_forms()}.")
        return
    kinds = kinds_of(schema) if forms == ["type"] and _fits("type", schema["type"]) else ()
    words = dict.fromkeys(word for kind in kinds for word in OF_KIND[kind])
    if "number" in kinds:  # of which an integer is one, too
        words.pop("multipleOf", None)
    for key in others:
        if key not in words:
            what = " or ".join(kinds) or " and ".join(forms)
            right = f"Beside {what} there are: {listed(words)}." if words else f"Nothing stands beside {what}."
            yield OptionProblem(
                (*path, key), f"the keyword '{key}' is not supported here.{nearest(key, words)} {right}"
            )


def _unfitting(schema: JsonSchema, path: Path) -> Iterator[OptionProblem]:
    """Keywords with values that they do not take."""
    for key, value in schema.items():
        if not _fits(key, value):
            hint = ' Write "null", in quotation marks, for the type.' if key == "type" and value is None else ""
            yield OptionProblem((*path, key), f"{shown(value)} does not fit. It takes {takes(VALUES[key])}.{hint}")


def _fits(key: str, value: Any) -> bool:
    return key not in VALUES or bool(validator()(VALUES[key]).is_valid(value))


def _own(schema: JsonSchema, path: Path, root: JsonSchema) -> Iterator[OptionProblem]:
    """What no keyword shows by itself, of a schema whose keywords fit."""
    kinds = kinds_of(schema)
    if "$ref" in schema and (name := schema["$ref"].removeprefix("#/$defs/")) not in root.get("$defs", {}):
        there = listed(root.get("$defs", {}))
        yield OptionProblem((*path, "$ref"), f"there is no '{name}' in $defs. There are: {there}.")
    if "object" in kinds and "enum" not in schema and "const" not in schema:
        yield from _of_object(schema, path)
    if "array" in kinds and not {"items", "prefixItems", "enum", "const"} & schema.keys():
        yield OptionProblem(path, "it does not say what its items are. Add `items` with their schema.")
    if "pattern" in schema and (problem := problem_of_regex(schema["pattern"])):
        yield OptionProblem((*path, "pattern"), problem)
    if kinds and ("enum" in schema or "const" in schema):
        yield from _of_values(schema, path)
    yield from _of_bounds(schema, path, kinds)


def _of_object(schema: JsonSchema, path: Path) -> Iterator[OptionProblem]:
    properties = schema.get("properties")
    if properties is None:
        problem = "it does not name its properties, and no others are written. Add `properties`."
        yield OptionProblem(path, problem)
        return
    for place, name in enumerate(schema.get("required", ())):
        if name not in properties:
            problem = f"there is no property '{name}'.{nearest(name, properties)} Properties: {listed(properties)}."
            yield OptionProblem((*path, "required", str(place)), problem)


def _of_values(schema: JsonSchema, path: Path) -> Iterator[OptionProblem]:
    """Values that are not of the type beside them."""
    key, fits = "enum" if "enum" in schema else "const", validator()({"type": schema["type"]}).is_valid
    values: list[tuple[Path, Any]] = [(("const",), schema.get("const"))]
    if key == "enum":
        values = [((key, str(place)), one) for place, one in enumerate(schema["enum"])]
    for where, value in values:
        if not fits(value):
            problem = f"{shown(value)} is not of the type {' or '.join(kinds_of(schema))}. Change the one or the other."
            yield OptionProblem((*path, *where), problem)


def _of_bounds(schema: JsonSchema, path: Path, kinds: Path) -> Iterator[OptionProblem]:
    """Bounds that a number as it is written could come too near to."""
    for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
        value = schema.get(key)
        if value is None or "number" not in kinds:
            continue
        if round(value, DECIMALS) != value:
            problem = f"{value!r} has more than the {DECIMALS} decimals that numbers are written with. Round it."
            yield OptionProblem((*path, key), problem)
        elif abs(value) > LARGEST_UNASKED["number"]:
            what = f"{value!r} is further from 0 than numbers with decimals are held to, {LARGEST_UNASKED['number']}"
            yield OptionProblem((*path, key), f"{what}. Use the type integer, or a nearer bound.")
        elif key == "maximum" and value == schema.get("minimum"):
            yield OptionProblem((*path, key), f"{value!r} is the minimum, too. Write `const: {value!r}` alone.")


def _forms() -> str:
    return ", ".join(FORMS)
