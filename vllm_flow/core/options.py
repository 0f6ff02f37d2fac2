"""Options: what a dataclass accepts, as a JSON Schema, and the way from a mapping to a checked instance.

The dataclass is the only declaration: its annotations give the schema, `Annotated` markers give ranges and choices, and
`jsonschema` does the checking, so that `check`, an editor and Python all refuse the same things.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from vllm_flow.core.errors import listed, nearest, shown
from vllm_flow.core.phrases import JsonSchema, takes

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
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = [field for field in dataclasses.fields(cls) if field.init]
    required = [
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    properties = {}
    for field in fields:
        try:
            properties[field.name] = _schema(hints[field.name])
        except TypeError as error:
            raise TypeError(f"the option '{field.name}': {error}") from None
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _schema(hint: Any) -> JsonSchema:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin in (typing.Union, types.UnionType):
        options = [_schema(argument) for argument in arguments if argument is not types.NoneType]
        kept = options[0] if len(options) == 1 else {"anyOf": options}
        return {"anyOf": [kept, {"type": "null"}]} if types.NoneType in arguments else kept
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple and arguments[1:] == (Ellipsis,):
        return {"type": "array", "items": _schema(arguments[0])}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1]), "propertyNames": _key(arguments[0])}
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
    return {"anyOf": [_schema(hint), {"type": "string", "pattern": DIGITS}]} if _is_whole(hint) else {"type": "string"}


def _is_whole(hint: Any) -> bool:
    return _schema(hint).get("type") == "integer"


def _annotated(hint: Any, markers: tuple[Any, ...]) -> JsonSchema:
    for marker in markers:
        if isinstance(marker, ChangesOf):
            return {**schema_of(marker.cls), "required": []}
    schema = _schema(hint)
    keywords = {key: value for marker in markers if isinstance(marker, Constraint) for key, value in marker.keywords}
    if "anyOf" in schema:  # Annotated[int | None, …]: the range belongs to the number, not to null
        return {"anyOf": [one if one == {"type": "null"} else {**one, **keywords} for one in schema["anyOf"]]}
    return {**schema, **keywords}


def problems(cls: type, given: Any) -> list[OptionProblem]:
    """Everything `cls` refuses in `given`, in the order it is written there; what is missing comes last."""
    found = [one for error in _validator()(schema_of(cls)).iter_errors(given) for one in _explain(error)]
    return sorted(found, key=lambda one: position(given, one.path))


@cache
def _validator() -> Any:
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


def position(given: Any, path: tuple[str, ...]) -> tuple[int, ...]:
    """Where `path` is written within nested mappings and lists, to sort by; what is not written stands last."""
    places = []
    for key in path:
        items: Any = given.items() if isinstance(given, Mapping) else enumerate(given) if _is_list(given) else ()
        found = ((place, item) for place, (name, item) in enumerate(items) if str(name) == key)
        place, given = next(found, (sys.maxsize, None))
        places.append(place)
    return tuple(places)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def build(cls: type[T], given: Mapping[str, Any]) -> T:
    """An instance of `cls` from a mapping that has no `problems`; lists become tuples, mappings become dataclasses."""
    return cls(**_converted(cls, given))


def written(made: Any, *, defaults: bool = True) -> Any:
    """What a configuration says for `build` to make this: its inverse. Options at their default may be left out."""
    if dataclasses.is_dataclass(made) and not isinstance(made, type):
        kept = (one for one in dataclasses.fields(made) if one.init and (defaults or not _at_default(made, one)))
        return {one.name: written(getattr(made, one.name), defaults=defaults) for one in kept}
    if isinstance(made, Mapping):
        return {key: written(item, defaults=defaults) for key, item in made.items()}
    return [written(item, defaults=defaults) for item in made] if _is_list(made) else made


def _at_default(made: Any, field: dataclasses.Field[Any]) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(getattr(made, field.name) == field.default_factory())
    return bool(getattr(made, field.name) == field.default)


def _converted(cls: type, given: Mapping[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {name: _convert(hints[name], value) for name, value in given.items()}


def _convert(hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        changes = next((one for one in arguments if isinstance(one, ChangesOf)), None)
        return _converted(changes.cls, value) if changes else _convert(arguments[0], value)
    if value is None:
        return None
    if origin in (typing.Union, types.UnionType):
        options = [argument for argument in arguments if argument is not types.NoneType]
        fitting = (one for one in options if len(options) == 1 or _validator()(_schema(one)).is_valid(value))
        return _convert(next(fitting), value)
    if origin is tuple:
        return tuple(_convert(arguments[0], item) for item in value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        whole = _is_whole(arguments[0])
        return {int(key) if whole else key: _convert(arguments[1], item) for key, item in value.items()}
    return float(value) if hint is float else value


def _explain(error: Any) -> Iterator[OptionProblem]:
    """One jsonschema error in our words."""
    path, value = tuple(map(str, error.absolute_path)), error.instance
    match error.validator:
        case "additionalProperties":
            known = error.schema.get("properties", {})
            for key in (one for one in value if one not in known):
                hint = f"{nearest(key, known)} Options: {listed(known)}."
                yield OptionProblem((*path, str(key)), f"there is no option '{key}'.{hint}")
        case "required":
            missing = [key for key in error.validator_value if key not in value]
            for key in missing if error.message.startswith(f"'{missing[0]}'") else ():
                wanted = takes(error.schema["properties"][key])
                yield OptionProblem((*path, key), f"'{key}' is missing. It takes {wanted}.")
        case "anyOf" if inner := _of_the_meant(error):
            yield from (problem for one in inner for problem in _explain(one))
        case _:
            yield OptionProblem(path, f"{shown(value)} does not fit. It takes {takes(error.schema)}.")


def _of_the_meant(error: Any) -> list[Any]:
    """Of `a mapping or null`: what is wrong inside the mapping that was given."""
    other_kinds = {one.schema_path[0] for one in error.context if one.validator == "type" and not one.path}
    inner = [one for one in error.context if one.schema_path[0] not in other_kinds]
    return inner if isinstance(error.instance, Mapping | list | tuple) else []
