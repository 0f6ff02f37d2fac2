"""Ports: what a stage asks for and gives, read from the signature of its `run`.

A port type is a named class, `Class | None`, `tuple[Class, ...]` or a method-only Protocol. Nothing fancier: checking
an edge stays a few lines, and an error can always say both ends in words.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Port:
    type: Any
    required: bool = True


@dataclass(frozen=True, slots=True)
class Ports:
    inputs: Mapping[str, Port]
    output: Any
    """types.NoneType for a stage kept for its effect."""


def ports_of(cls: type, method: str = "run") -> Ports:
    """Read a method's parameters and return type. Raises TypeError when one has no annotation or an unusable one."""
    found = annotated(cls, method)
    for name, hint in (*((name, port.type) for name, port in found.inputs.items()), ("return", found.output)):
        if not usable(hint):
            known = "Class, Class | None, tuple[Class, ...] or a runtime_checkable Protocol of methods"
            raise TypeError(f"{_of(name)} has the type {type_name(hint)}. A port is {known}")
    return found


def annotated(cls: type, method: str) -> Ports:
    """As `ports_of`, but with types of any kind. Raises TypeError when there is none."""
    function = getattr(cls, method)
    hints = typing.get_type_hints(function)
    own, *parameters = inspect.signature(function).parameters.values()
    if own.name != "self":
        raise TypeError(f"the first parameter of {method} is '{own.name}'. Write self before it")
    for one in parameters:
        if one.kind not in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY):
            raise TypeError(f"'{one}' is no port: it takes no value by its name. Write each parameter of {method} out")
    for name in (*(parameter.name for parameter in parameters), "return"):
        if name not in hints:
            raise TypeError(f"{_of(name)} has no type. Annotate every parameter of {method} and its return")
    inputs = {one.name: Port(hints[one.name], one.default is one.empty) for one in parameters}
    return Ports(inputs, hints["return"])


def _of(name: str) -> str:
    return "the return value" if name == "return" else f"'{name}'"


def usable(hint: Any) -> bool:
    """Whether `hint` is one of the port types."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        options = [option for option in typing.get_args(hint) if option is not types.NoneType]
        return len(options) == 1 and usable(options[0])
    if typing.get_origin(hint) is tuple:
        arguments = typing.get_args(hint)
        return len(arguments) == 2 and arguments[1] is Ellipsis and usable(arguments[0])
    return hint is Any or (inspect.isclass(hint) and hint is not tuple and _can_be_checked(hint))


def _can_be_checked(cls: type) -> bool:
    """False for a Protocol with attributes or without @runtime_checkable: Python cannot say who implements it."""
    try:
        issubclass(object, cls)
    except TypeError:
        return False
    return True


def fits(given: Any, wanted: Any) -> bool:
    """Whether a value of type `given` may go where `wanted` is asked for. Any, the type of a broken node, fits all."""
    if given is Any or wanted is Any:
        return True
    given_options, wanted_options = _options(given), _options(wanted)
    return all(any(_fits_one(one, other) for other in wanted_options) for one in given_options)


def _options(hint: Any) -> tuple[Any, ...]:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        return typing.get_args(hint)
    return (hint,)


def _fits_one(given: Any, wanted: Any) -> bool:
    if wanted is object:
        return True
    if typing.get_origin(wanted) is tuple:
        return typing.get_origin(given) is tuple and fits(typing.get_args(given)[0], typing.get_args(wanted)[0])
    return inspect.isclass(given) and inspect.isclass(wanted) and issubclass(given, wanted)


def holds(value: Any, hint: Any) -> bool:
    """Whether a value is of a port type."""
    return any(_holds_one(value, one) for one in _options(hint))


def _holds_one(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(holds(item, typing.get_args(hint)[0]) for item in value)
    return isinstance(value, hint)


def element(hint: Any) -> Any:
    """The type of a tuple's items, Any for Any, None when it is no tuple of one type."""
    if hint is Any:
        return Any
    arguments = typing.get_args(hint)
    return arguments[0] if typing.get_origin(hint) is tuple and arguments[1:] == (Ellipsis,) else None


def many(hint: Any) -> Any:
    """The type of a tuple of such values."""
    return tuple.__class_getitem__((hint, ...))


def optional(hint: Any) -> Any:
    return hint if hint is Any or hint is types.NoneType else hint | None


def type_name(hint: Any) -> str:
    """`Context`, `Completion | None`, `tuple[Score, ...]`: as a reader would write it."""
    if hint is types.NoneType:
        return "None"
    if (inner := element(hint)) is not None and hint is not Any:
        return f"tuple[{type_name(inner)}, ...]"
    options = _options(hint)
    if len(options) > 1:
        return " | ".join(type_name(option) for option in options)
    return str(hint) if typing.get_origin(hint) else str(getattr(hint, "__name__", hint))
