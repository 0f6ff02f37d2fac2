"""Differences between two configurations, key by key, as plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Path = tuple[str, ...]
ABSENT = "(nothing)"


def flat(content: Any, path: Path = ()) -> dict[Path, Any]:
    """Every value of nested mappings, by its path. An empty mapping is a value, and a list is one."""
    if not isinstance(content, Mapping) or not content:
        return {path: content}
    return {at: value for key, below in content.items() for at, value in flat(below, (*path, str(key))).items()}


def differences(then: Any, now: Any) -> dict[Path, tuple[str, str]]:
    """Paths at which the two differ, with both values as JSON; `(nothing)` where one of them has none."""
    before, after = flat(then), flat(now)
    texts = {path: (_text(before, path), _text(after, path)) for path in dict.fromkeys((*before, *after))}
    return {path: pair for path, pair in texts.items() if pair[0] != pair[1]}


def changes(then: Any, now: Any) -> list[tuple[Path, Any]]:
    """What has to be set in `then` to make it `now`; a mapping that lost keys is set whole. See `changed`."""
    if not isinstance(then, Mapping) or not isinstance(now, Mapping) or set(then) - set(now):
        return [] if then == now else [((), now)]
    found: list[tuple[Path, Any]] = []
    for key, value in now.items():
        below = changes(then[key], value) if key in then else [((), value)]
        found += [((key, *path), one) for path, one in below]
    return found


def changed(content: Any, made: list[tuple[Path, Any]]) -> Any:
    """A copy of nested mappings with these values set."""
    copy = json.loads(json.dumps(content))
    for path, value in made:
        if not path:
            copy = value
            continue
        place = copy
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
    return copy


def _text(values: Mapping[Path, Any], path: Path) -> str:
    return json.dumps(values[path], ensure_ascii=False) if path in values else ABSENT
