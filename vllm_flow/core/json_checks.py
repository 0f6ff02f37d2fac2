"""Checks of JSON values: each returns what it was given or says in one line, with the place, what is wrong with it.

All errors are ValueError, `place: what is wrong. What would be right.`, for the caller to put its file in front of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from vllm_flow.core.errors import listed, nearest

LARGEST = 2**63 - 1  # what a database and most JSON readers hold as a whole number
SHARES: Mapping[str, tuple[float, float]] = {"feedback": (-1, 1), "progress": (0, 1)}
"""Numbers that may come with a turn, each with its lowest and its highest value."""
REMEMBER = "remember"
ALONG = (*SHARES, REMEMBER)
"""What may come with a turn beside what is said."""


def whole_from_json(data: Any, where: str, low: int = 0) -> int:
    """A whole number from `low` to 2**63 - 1. Raises ValueError."""
    if type(data) is not int or not low <= data <= LARGEST:
        raise ValueError(f"{where}: {brief(data)} does not fit. Give a whole number of {low} or more, below 2**63.")
    return data


def ids_from_json(data: Any, where: str) -> tuple[int, ...]:
    """Token ids. Raises ValueError."""
    if list_from_json(data, where) and (set(map(type, data)) != {int} or min(data) < 0 or max(data) > LARGEST):
        for place, item in enumerate(data):
            whole_from_json(item, f"{where}.{place}")  # says what is wrong
    return tuple(data)


def numbers_from_json(data: Any, where: str) -> tuple[float, ...]:
    """A list of numbers. Raises ValueError."""
    for place, item in enumerate(list_from_json(data, where)):
        if type(item) not in (int, float):
            raise ValueError(f"{where}.{place}: {brief(item)} is no number. Give one.")
    return tuple(float(item) for item in data)


def shares_from_json(data: Mapping[str, Any], where: str = "") -> dict[str, float]:
    """Those of `SHARES` that are given. Raises ValueError."""
    found: dict[str, float] = {}
    for name, (low, high) in SHARES.items():
        if (value := data.get(name)) is None:
            continue
        if type(value) not in (int, float) or not low <= value <= high:
            place = f"{where}.{name}" if where else name
            raise ValueError(f"{place}: {brief(value)} is no number from {low} to {high}. Give one, or leave it out.")
        found[name] = float(value)
    return found


def along_from_json(data: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """What of `ALONG` is given. Raises ValueError."""
    given = data.get(REMEMBER)
    if given is None:
        return shares_from_json(data, where)
    place = f"{where}.{REMEMBER}" if where else REMEMBER
    facts = given.items() if isinstance(given, dict) else [("", given)]
    if not all(key.strip() and (value is None or (isinstance(value, str) and value.strip())) for key, value in facts):
        raise ValueError(
            f"{place}: {brief(given)} does not fit. Give texts by name, and null for what is to be forgotten."
        )
    return {**shares_from_json(data, where), REMEMBER: given}


def text_from_json(data: Any, where: str) -> str:
    """A text. Raises ValueError."""
    if not isinstance(data, str):
        raise ValueError(f"{where}: {brief(data)} is no text. Put it in quotation marks.")
    return data


def list_from_json(data: Any, where: str) -> list[Any]:
    """A list, its items unchecked. Raises ValueError."""
    if not isinstance(data, list):
        raise ValueError(f"{where}: {brief(data)} is no list. Put it in square brackets.")
    return data


def check_keys(data: Any, where: str, required: Iterable[str], optional: Iterable[str] = ()) -> None:
    """Raises ValueError unless `data` is a mapping with all of `required`, and else only some of `optional`."""
    if not isinstance(data, dict):
        raise ValueError(f"{where}: {brief(data)} is no mapping. Give one with the keys: {listed(required)}.")
    known = {*required, *optional}
    for key in data:
        if key not in known:
            hint = f"{nearest(str(key), known)} Keys: {listed(known)}."
            raise ValueError(f"{where}: there is no key {brief(key)}.{hint}")
    for key in required:
        if key not in data:
            raise ValueError(f"{where}: '{key}' is missing. Add it.")


def brief(value: Any) -> str:
    """The value in one short line: a text or number cut at 60 characters, a container by its kind."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "a mapping"
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)  # YAML knows dates
    return text if len(text) <= 60 else f"{text[:57]}..."
