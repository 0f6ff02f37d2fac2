"""Option checks: everything that is wrong with a mapping of options, in our words.

`jsonschema` does the checking, so that `check`, an editor and Python all refuse the same things; what no schema can
see, an options class says itself.
"""

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from vllm_flow.core.errors import listed, nearest, shown
from vllm_flow.core.options import (
    ChangesOf,
    OptionProblem,
    by_key,
    hints_of,
    is_list,
    reads_itself,
    schema_of,
    validator,
)
from vllm_flow.core.phrases import JsonSchema, takes

Path = tuple[str, ...]


def problems(cls: type, given: Any) -> list[OptionProblem]:
    """Everything `cls` refuses in `given`, in the order it is written there; what is missing comes last."""
    found = schema_problems(schema_of(cls), given)
    if isinstance(given, Mapping):
        found += _said_by_classes(cls, given, {one.path[0] for one in found if one.path})
    return sorted(found, key=lambda one: position(given, one.path))


def schema_problems(schema: JsonSchema, given: Any) -> list[OptionProblem]:
    """What does not fit a schema of ours, in our words."""
    return [one for error in validator()(schema).iter_errors(given) for one in _explain(error)]


def _said_by_classes(cls: type, given: Mapping[str, Any], faulty: set[str]) -> Iterator[OptionProblem]:
    """What classes that read themselves say of what is meant for them, of the options that are sound by the schema."""
    hints, fields = hints_of(cls), by_key(cls)
    for key in (one for one in given if one in fields and one not in faulty):
        for one in _said(hints[fields[key].name], given[key]):
            yield OptionProblem((key, *one.path), one.problem)


def _said(hint: Any, given: Any) -> Iterator[OptionProblem]:
    if given is None:
        return
    if isinstance(hint, ChangesOf):
        hint = hint.cls
    if reads_itself(hint):
        yield from hint.option_problems(given)
    elif typing.get_origin(hint) is tuple and is_list(given):
        for place, item in enumerate(given):
            for one in _said(typing.get_args(hint)[0], item):
                yield OptionProblem((str(place), *one.path), one.problem)
    elif _is_mapping(hint) and isinstance(given, Mapping):
        for key, item in given.items():
            for one in _said(typing.get_args(hint)[1], item):
                yield OptionProblem((str(key), *one.path), one.problem)
    else:
        for inner in (*typing.get_args(hint), *getattr(hint, "__metadata__", ())):
            yield from _said(inner, given)


def _is_mapping(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def own_problems(made: Any) -> Iterator[tuple[Path, str]]:
    """What `problems()` of an options object says, and that of the options in it: what no schema can see.

    It gives an OptionProblem to name one option, or a text for a combination of several.
    """
    if callable(own := getattr(made, "problems", None)):
        yield from ((one.path, one.problem) if isinstance(one, OptionProblem) else ((), one) for one in own())
    for field in dataclasses.fields(made):
        inner = getattr(made, field.name)
        if dataclasses.is_dataclass(inner):
            yield from (((field.name, *path), problem) for path, problem in own_problems(inner))


def position(given: Any, path: tuple[str, ...]) -> tuple[int, ...]:
    """Where `path` is written within nested mappings and lists, to sort by; what is not written stands last."""
    places = []
    for key in path:
        items: Any = given.items() if isinstance(given, Mapping) else enumerate(given) if is_list(given) else ()
        found = ((place, item) for place, (name, item) in enumerate(items) if str(name) == key)
        place, given = next(found, (sys.maxsize, None))
        places.append(place)
    return tuple(places)


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
