"""Functions as parts: a part that has no options need not be a class, for its one method says everything."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def class_of(function: Callable[..., Any], method: str) -> type:
    """A frozen dataclass without fields whose `method` is this function, with the same parameters behind `self`."""

    def call(_: object, *values: Any, **named: Any) -> Any:
        return function(*values, **named)

    functools.update_wrapper(call, function)  # with it annotations are read in the function's own module
    signature = inspect.signature(function)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    vars(call)["__signature__"] = signature.replace(parameters=[own, *signature.parameters.values()])
    about = {name: getattr(function, name) for name in ("__doc__", "__module__", "__qualname__")}
    return dataclass(frozen=True)(type(function.__name__, (), {**about, method: call}))


def function_of(cls: type, method: str) -> Callable[..., Any] | None:
    """The function that `class_of` made this of; None for every other class."""
    found: Callable[..., Any] | None = getattr(getattr(cls, method), "__wrapped__", None)
    return found
