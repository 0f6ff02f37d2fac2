"""Changes of a recorded configuration, without the files it came from: `key=value` on the values that were in force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import yaml

from vllm_flow.core.differences import changed as with_changes
from vllm_flow.core.errors import ConfigError, Fault, listed, nearest, shown
from vllm_flow.core.spec import Path, RunSpec

ORIGIN = "command line"
SHORTER = ("resources", "graph")
"""What may be left out before a key, as on the command line of a run: `engine.dtype`, `prompt.system`."""
MODEL = "model"
NOT_CHANGED = ("name", "input", "plugins", "pipelines")


def changed(spec: RunSpec, words: Sequence[str]) -> RunSpec:
    """The spec with these values. Raises ConfigError with each word that names none."""
    content, found, faults = spec.content(), dict[Path, Any](), list[Fault]()
    for word in words:
        try:
            found |= _meant(content, word)
        except ValueError as error:
            faults.append(Fault(word.partition("=")[0], str(error), ORIGIN))
    if faults:
        raise ConfigError(faults)
    content = with_changes(content, list(found.items()))
    return RunSpec(**content, origins=dict.fromkeys(found, ORIGIN), project=spec.project)


def _meant(content: Mapping[str, Any], word: str) -> Iterator[tuple[Path, Any]]:
    """The places that a word means, and the value for them. Raises ValueError."""
    key, equals, text = word.partition("=")
    path = tuple(key.split("."))
    if not equals or not all(path):
        raise ValueError("it is no change. Write key=value, such as sampling.temperature=0.3.")
    places = list(_places(content, path))
    if not places:
        names = [name for name in (*content, *content["resources"], *content["graph"]) if name not in NOT_CHANGED]
        hint = "" if path[0] in names else nearest(path[0], names)
        raise ValueError(f"the record has no such key.{hint} There are: {listed(names)}.")
    value = _value(text)
    for place in places:
        before = _at(content, place)
        if isinstance(before, Mapping) and not isinstance(value, Mapping):
            problem = f"{shown(value)} is no table, and a record holds no files to look it up in"
            whole = f"or write all of it: '{key}={{…}}'"
            raise ValueError(f"{problem}. Change one of its keys: {listed(before)}; {whole}.")
        yield place, value


def _places(content: Mapping[str, Any], path: Path) -> Iterator[Path]:
    if path[0] in content and path[0] not in NOT_CHANGED:
        yield from _within(content, path)
    elif path[0] == MODEL:  # as composed it stands in each resource that reads it
        for name in content["resources"]:
            yield from _within(content, ("resources", name, *path)) if MODEL in content["resources"][name] else ()
    else:
        for table in SHORTER:
            yield from _within(content, (table, *path)) if path[0] in content[table] else ()


def _within(content: Mapping[str, Any], path: Path) -> Iterator[Path]:
    """The path, if there is a table that it can stand in."""
    if isinstance(_at(content, path[:-1]), Mapping):
        yield path


def _at(content: Any, path: Iterable[str]) -> Any:
    for name in path:
        content = content.get(name) if isinstance(content, Mapping) else None
    return content


def _value(text: str) -> Any:
    try:
        return yaml.safe_load(text) if text else ""
    except yaml.YAMLError:
        return text
