"""Options: what a dataclass accepts, as a JSON Schema, and the way from a checked mapping to an instance.

The dataclass is the only declaration: its annotations give the schema, and `Annotated` markers give ranges and choices.
`option_checks.py` holds a mapping against it.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from vllm_flow.core.phrases import JsonSchema

T = TypeVar("T")
SCALARS: dict[Any, str] = {int: "integer", float: "number", str: "string", bool: "boolean"}
DIGITS = "^[0-9]+$"


@dataclass(frozen=True)
class Constraint:
    """JSON Schema keywords to add to a field, written in its annotation: `Annotated[int, at_least(0)]`."""

    keywords: tuple[tuple[str, Any], ...]


def at_least(low: float) -> Constraint:
    return Constraint((("minimum", low),))


def above(low: float) -> Constraint:
    return Constraint((("exclusiveMinimum", low),))


def between(low: float, high: float) -> Constraint:
    return Constraint((("minimum", low), ("maximum", high)))


def above_up_to(low: float, high: float) -> Constraint:
    return Constraint((("exclusiveMinimum", low), ("maximum", high)))


def not_empty() -> Constraint:
    """Of a text: one character or more."""
    return Constraint((("minLength", 1),))


@dataclass(frozen=True)
class ChangesOf:
    """The field is a mapping that may name any field of `cls`, each checked as there, none required."""

    cls: type


@dataclass(frozen=True, slots=True)
class OptionProblem:
    path: tuple[str, ...]
    """Keys from the mapping given to the place at fault."""
    problem: str


@cache
def schema_of(cls: type) -> JsonSchema:
    """The JSON Schema (draft 2020-12) of a dataclass: an object that accepts its init fields and nothing else."""
    hints = hints_of(cls)
    fields = {key: field for key, field in by_key(cls).items() if field.init}
    required = [
        key
        for key, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    properties = {}
    for key, field in fields.items():
        try:
            properties[key] = schema_for(hints[field.name])
        except TypeError as error:
            raise TypeError(f"the option '{key}': {error}") from None
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


@cache
def hints_of(cls: type) -> Mapping[str, Any]:
    """The annotations of a class, markers included: what `set` changes is read each turn, so they are kept."""
    return typing.get_type_hints(cls, include_extras=True)


def by_key(cls: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a dataclass by what a configuration calls them: `from_`, since `from` is Python's, is `from`."""
    return {field.name.removesuffix("_"): field for field in dataclasses.fields(cls)}


def schema_for(hint: Any) -> JsonSchema:
    """Of one annotation. Raises TypeError for what no configuration can hold."""
    if reads_itself(hint):
        schema: JsonSchema = hint.option_schema()
        return schema
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin in (typing.Union, types.UnionType):
        options = [schema_for(argument) for argument in arguments if argument is not types.NoneType]
        kept = options[0] if len(options) == 1 else {"anyOf": options}
        return {"anyOf": [kept, {"type": "null"}]} if types.NoneType in arguments else kept
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return {"type": "array", "items": schema_for(arguments[0])}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": schema_for(arguments[1]), "propertyNames": _key(arguments[0])}
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return schema_of(hint)
    if hint is Any:
        return {}
    if hint in SCALARS:
        return {"type": SCALARS[hint]}
    name = hint.__name__ if isinstance(hint, type) else repr(hint)
    known = "int, float, str, bool, Literal, tuple[…, ...], Mapping or a dataclass"
    raise TypeError(f"{name} is no type of an option. Use {known}")


def _key(hint: Any) -> JsonSchema:
    """JSON has no other keys than texts: there, and on a command line, a number is written in digits."""
    return (
        {"anyOf": [schema_for(hint), {"type": "string", "pattern": DIGITS}]} if _is_whole(hint) else {"type": "string"}
    )


def _is_whole(hint: Any) -> bool:
    return schema_for(hint).get("type") == "integer"


def _annotated(hint: Any, markers: tuple[Any, ...]) -> JsonSchema:
    for marker in markers:
        if isinstance(marker, ChangesOf):
            return {**schema_for(marker.cls), "required": []}
    schema = schema_for(hint)
    keywords = {key: value for marker in markers if isinstance(marker, Constraint) for key, value in marker.keywords}
    if "anyOf" in schema:  # Annotated[int | None, …]: the range belongs to the number, not to null
        return {"anyOf": [one if one == {"type": "null"} else {**one, **keywords} for one in schema["anyOf"]]}
    return {**schema, **keywords}


@cache
def validator() -> Any:
    """JSON Schema for values from Python: any mapping, tuples too; 1.0 is no integer, and NaN fits nothing."""
    from jsonschema import Draft202012Validator, validators  # 0.1 s, and `--help` does not need it

    def is_integer(_: Any, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def is_number(_: Any, value: Any) -> bool:
        return (isinstance(value, float) or is_integer(_, value)) and abs(value) <= sys.float_info.max

    kinds = {
        "object": lambda _, value: isinstance(value, Mapping),
        "array": lambda _, value: isinstance(value, list | tuple),
        "integer": is_integer,
        "number": is_number,
    }
    checker = Draft202012Validator.TYPE_CHECKER.redefine_many(kinds)
    return validators.extend(Draft202012Validator, type_checker=checker)  # type: ignore[no-untyped-call]  # their stubs


def build(cls: type[T], given: Mapping[str, Any]) -> T:
    """An instance of `cls` from a mapping that has no `problems`; lists become tuples, mappings become dataclasses."""
    return cls(**_fields_read(cls, given))


def written(made: Any, *, defaults: bool = True) -> Any:
    """What a configuration says for `build` to make this: its inverse. Options at their default may be left out."""
    if reads_itself(type(made)):
        return made.option_written(defaults=defaults)
    if dataclasses.is_dataclass(made) and not isinstance(made, type):
        fields = by_key(type(made)).items()
        kept = ((key, one) for key, one in fields if one.init and (defaults or not _at_default(made, one)))
        return {key: written(getattr(made, one.name), defaults=defaults) for key, one in kept}
    if isinstance(made, Mapping):
        return {key: written(item, defaults=defaults) for key, item in made.items()}
    return [written(item, defaults=defaults) for item in made] if is_list(made) else made


def _at_default(made: Any, field: dataclasses.Field[Any]) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(getattr(made, field.name) == field.default_factory())
    return bool(getattr(made, field.name) == field.default)


def _fields_read(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    hints, fields = hints_of(cls), by_key(cls)
    return {fields[key].name: converted(hints[fields[key].name], value) for key, value in given.items()}


def converted(hint: Any, value: Any) -> Any:
    """A value that fits the annotation's schema, as Python has it."""
    if reads_itself(hint):
        return None if value is None else hint.option_read(value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        changes = next((one for one in arguments if isinstance(one, ChangesOf)), None)
        if changes is None:
            return converted(arguments[0], value)
        return value if reads_itself(changes.cls) else _fields_read(changes.cls, value)
    if value is None:
        return None
    if origin in (typing.Union, types.UnionType):
        options = [argument for argument in arguments if argument is not types.NoneType]
        fitting = (one for one in options if len(options) == 1 or validator()(schema_for(one)).is_valid(value))
        return converted(next(fitting), value)
    if origin is tuple:
        return tuple(converted(arguments[0], item) for item in value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        whole = _is_whole(arguments[0])
        return {int(key) if whole else key: converted(arguments[1], item) for key, item in value.items()}
    return float(value) if hint is float else value


def is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def reads_itself(hint: Any) -> bool:
    """Whether a class has a way of its own to be written: `option_schema`, `option_problems`, `option_read` and
    `option_written`."""
    return isinstance(hint, type) and hasattr(hint, "option_schema")
