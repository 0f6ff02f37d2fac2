"""Outline: what the files say together, merged without Hydra, for `ls` and completion, which must answer at once.

It follows `defaults` as Hydra does. References stay as they are written, and a file that cannot be read says nothing
here: what is wrong with it is `check`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from vllm_flow.config.groups import header, place_of
from vllm_flow.config.layers import PRIMARY, SHIPPED, is_late, layers
from vllm_flow.config.limits import MAX_BYTES

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SELF = "_self_"
Contents = tuple[tuple[str, ...], dict[str, Any]]
"""Where the values of a file go, and the values."""


def outline(choices: Mapping[str, str]) -> dict[str, Any]:
    """The configuration that these choices make, group to name; those that are not made are the files' own."""
    merged: dict[str, Any] = {}
    files = _Files(dict(choices)).of(PRIMARY, ())
    for _, (place, values) in sorted(files, key=lambda file: is_late(file[0])):
        _merge(merged, reduce(lambda inner, name: {name: inner}, reversed(place), values))
    return merged


def find(config_path: str) -> Path | None:
    """The file that is known as `group/choice`, from the first layer that has it."""
    found = (layer.file(config_path) for layer in layers())
    return next((path for path in found if path is not None), None)


def text_of(path: Path) -> str:
    """Nothing for a file that is too large or not there."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        return ""
    return "" if len(content) > MAX_BYTES else content.decode("utf-8-sig", errors="replace")


def contents(config_path: str) -> Contents:
    """What a file says, its `defaults` among the values; nothing when there is no such file."""
    path = find(config_path)
    if path is None:
        return (), {}
    text = text_of(path)
    group = config_path.removeprefix(f"{SHIPPED}/").rpartition("/")[0]
    package = header(text)[0] or group.replace("/", ".")
    try:
        values = yaml.load(text, LOADER)  # noqa: S506  a safe loader either way
    except (yaml.YAMLError, ValueError, RecursionError):
        values = None
    return place_of(package), values if isinstance(values, dict) else {}


@dataclass
class _Files:
    """The files that a configuration is merged from. As in Hydra a later line of `defaults` is read before the earlier
    ones: it may override what they choose, and of two overrides the one that is read first counts."""

    chosen: dict[str, str]

    def of(self, config_path: str, within: tuple[str, ...]) -> list[tuple[str, Contents]]:
        """A file and what it builds on, by their names, in the order of merging."""
        if config_path in within:
            return []
        place, values = contents(config_path)
        items = [*_items(values.get("defaults"), config_path.rpartition("/")[0])]
        if not any(group == SELF for _, group, _ in items):
            items.append((False, SELF, None))
        for overrides, group, name in items:
            if overrides:
                self.chosen.setdefault(group, str(name))
        found: list[tuple[str, Contents]] = []
        for overrides, group, name in reversed(items):
            if group == SELF:
                found.append((config_path, (place, values)))
            elif not overrides:
                choice = group if name is None else f"{group}/{self.chosen.get(group, name)}"
                found += reversed(self.of(choice, (*within, config_path)))
        return found[::-1]


def _items(defaults: Any, folder: str) -> Iterator[tuple[bool, str, Any]]:
    """The lines of `defaults`: whether it overrides, group and choice; a whole file has no choice."""

    def absolute(name: str) -> str:
        name = name.partition("@")[0]  # `override /engine@_global_.engine`, in a file of another place
        return name.strip("/") if name.startswith("/") or not folder else f"{folder}/{name}"

    for item in defaults if isinstance(defaults, list) else ():
        if isinstance(item, str):
            yield False, item if item == SELF else absolute(item), None
        elif isinstance(item, dict):
            for key, name in item.items():
                *signs, group = str(key).split() or [""]
                yield "override" in signs, absolute(group), "null" if name is None else name


def _merge(into: dict[str, Any], values: Mapping[Any, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif key != "defaults":
            into[key] = {} if isinstance(value, Mapping) else value
            if isinstance(value, Mapping):
                _merge(into[key], value)
