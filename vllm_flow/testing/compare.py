"""Saying what is not as promised: the place at which two values differ, in one line; a line for each broken promise."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.errors import listed

SHOWN = 60
"""Characters of a value that are shown."""


class Broken(Exception):
    """One promise that was not kept; the name first, then what is wrong and what would be right."""

    def __init__(self, promise: str, error: Exception) -> None:
        what = str(error) if isinstance(error, AssertionError) else f"it raised {named(error)}. It should not."
        super().__init__(f"{promise}: {what}")
        self.__cause__ = error


def report(broken: Iterable[Broken]) -> None:
    """Raises one AssertionError with a line for each; the tracebacks are in its cause."""
    if found := list(broken):
        raise AssertionError("\n".join(map(str, found))) from ExceptionGroup("promises that were not kept", found)


def same(what: str, given: object, wanted: object) -> None:
    """Raises AssertionError, naming the innermost place that differs, unless the two are equal."""
    if found := difference(given, wanted):
        where = f"{what}: {found.place}" if found.place else what
        raise AssertionError(f"{where} is {found.given}. It should be {found.wanted}.")


def require(holds: bool, problem: str) -> None:
    """Raises AssertionError with the problem unless it `holds`."""
    if not holds:
        raise AssertionError(problem)


def has_methods(given: object, protocol: type) -> None:
    """Raises AssertionError unless `given` has every method of the protocol."""
    wanted = [name for name in vars(protocol) if not name.startswith("_")]
    is_a = given.__name__ if isinstance(given, type) else type(given).__name__
    require(not isinstance(given, type), f"{is_a} is a class. Give an instance of it: {is_a}(…).")
    lacking = [name for name in wanted if not callable(getattr(given, name, None))]
    advice = f"{protocol.__name__} has: {listed(wanted)}."
    if "open" not in wanted and callable(getattr(given, "open", None)):
        advice = "Give what its open() gives."
    require(not lacking, f"{is_a} has no {listed(lacking)}. {advice}")


@contextmanager
def refused(what: str, kind: type[Exception]) -> Iterator[None]:
    """Raises AssertionError unless the block raises an error of that kind; its words do not matter."""
    try:
        yield
    except kind:
        return
    except Exception as error:
        raise AssertionError(f"{what} raised {named(error)}. It should raise {kind.__name__}.") from error
    raise AssertionError(f"{what} was accepted. It should raise {kind.__name__}.")


def named(error: BaseException) -> str:
    """`ValueError: what it says`, in one line."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@dataclass(frozen=True, slots=True)
class Difference:
    """The innermost place at which two values differ, and how both look there, as Python writes it."""

    place: str
    """Such as `turn.message.parts[0].text`; empty when the values as a whole differ."""
    given: str
    wanted: str


def difference(given: Any, wanted: Any, place: str = "") -> Difference | None:
    """Where two values differ first; None for equal ones. Raises AssertionError for what cannot be compared."""
    inner = list(_inside(given, wanted, place))
    if _equal(given, wanted, bool(inner)):
        return None
    if type(given) is type(wanted) and isinstance(given, list | tuple) and len(given) != len(wanted):
        return Difference(f"len({place})" if place else "its length", str(len(given)), str(len(wanted)))
    if inner:
        return next((found for one in inner if (found := difference(*one))), None)
    if isinstance(given, str) and isinstance(wanted, str) and (alike := _alike(given, wanted)) > SHOWN // 2:
        start = alike - SHOWN // 4
        return Difference(f"{place or 'it'}[{start}:]", brief(given[start:]), brief(wanted[start:]))
    return Difference(place, brief(given), brief(wanted))


def _inside(given: Any, wanted: Any, place: str) -> Iterator[tuple[Any, Any, str]]:
    """What two values of one shape are made of, side by side."""
    if type(given) is type(wanted) and dataclasses.is_dataclass(given):
        for field in dataclasses.fields(given):
            if field.compare:
                inner = f"{place}.{field.name}" if place else field.name
                yield getattr(given, field.name), getattr(wanted, field.name), inner
    elif isinstance(given, Mapping) and isinstance(wanted, Mapping) and given.keys() == wanted.keys():
        yield from ((given[key], wanted[key], f"{place}[{key!r}]") for key in given)
    elif type(given) is type(wanted) and isinstance(given, list | tuple) and len(given) == len(wanted):
        yield from ((one, other, f"{place}[{at}]") for at, (one, other) in enumerate(zip(given, wanted, strict=True)))


def _alike(given: str, wanted: str) -> int:
    """How many characters at their beginning are the same."""
    pairs = enumerate(zip(given, wanted, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(given), len(wanted)))


def _equal(given: Any, wanted: Any, composed: bool) -> bool:
    """False for a composed value that holds what only its own comparison can tell: its parts are compared then."""
    try:
        equal: Any = given is wanted or given == wanted
        return bool(equal.all()) if hasattr(equal, "all") else bool(equal)  # an array compares item by item
    except Exception as error:
        if composed:
            return False
        what = f"{type(given).__name__} and {type(wanted).__name__} cannot be compared ({named(error)})"
        raise AssertionError(f"{what}. Give the class an __eq__ that says True or False.") from error


def brief(value: object) -> str:
    """How Python writes the value, cut to SHOWN characters."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def copied(value: Any) -> Any:
    """An equal value that shares nothing changeable with this one; what has no equal copy stays itself."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        twin = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(twin, field.name, copied(getattr(value, field.name)))
        return twin
    if isinstance(value, Mapping):  # a mappingproxy, our empty default, has no copy
        return {key: copied(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(copied(item) for item in value)
    try:
        twin = copy.deepcopy(value)
        return value if difference(twin, value) else twin
    except Exception:
        return value
