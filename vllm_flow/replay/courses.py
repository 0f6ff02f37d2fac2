"""Courses: the values in force at each token of two answers, and the first token at which one was another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.calls_kept import shared
from vllm_flow.core.errors import shown
from vllm_flow.core.recorded import Row
from vllm_flow.core.sampling import NEUTRAL


@dataclass(frozen=True, slots=True)
class Parting:
    """Where the values of one parameter part."""

    parameter: str
    token: int
    first: str
    second: str
    signals: tuple[str, str]
    """What the schedules of each were told for that token."""


def parting(first: Row, second: Row) -> Parting | None:
    """Of two requests, the first token that both have at which a parameter that moves in one had another value."""
    columns = first.get("moving", {}), second.get("moving", {})
    found = []
    for name in dict.fromkeys([*columns[0], *columns[1]]):
        one, other = _column(first, name, columns[1].get(name)), _column(second, name, columns[0].get(name))
        at = shared(one, other)
        if at < min(len(one), len(other)):
            told = _signals(first, at), _signals(second, at)
            found.append(Parting(name, at, _text(one[at]), _text(other[at]), told))
    return min(found, key=lambda one: one.token, default=None)


def _column(call: Row, name: str, others: Sequence[Any] | None) -> Sequence[Any]:
    """What a parameter was at each token; one that stays was the same as often as the other request's moved."""
    moving: Sequence[Any] | None = call.get("moving", {}).get(name)
    if moving is not None:
        return moving
    return [call["sampling"][0][1].get(name, getattr(NEUTRAL, name))] * len(others or ())


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else shown(value)


def _signals(call: Row, token: int) -> str:
    columns = call.get("signals", {}).items()
    known = ((name, column[token]) for name, column in columns if token < len(column))
    return ", ".join(f"{name} {value:g}" for name, value in known if value is not None)
