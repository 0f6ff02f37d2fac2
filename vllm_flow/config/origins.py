"""Origins: where each value was written, found by replaying Hydra's merges on line numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import Override

from vllm_flow.config.files import ConfigFile
from vllm_flow.core.errors import Fault

COMMAND_LINE = "command line"
REFERENCE = re.compile(r"\$\{(\.*)([\w.]+)\}")
Path = tuple[str, ...]
Origins = dict[Path, str]


@dataclass(frozen=True, slots=True)
class Written:
    """A file at the place where Hydra merged it."""

    file: ConfigFile
    place: Path

    def __iter__(self) -> Iterator[tuple[Path, str, str | None]]:
        """Path, origin and the text of scalars."""
        for entry in self.file.entries:
            if entry.path[0] != "defaults":
                yield (*self.place, *entry.path), f"{self.file.label}:{entry.line}", entry.text


def origins_of(written: Sequence[Written], overrides: Sequence[Override]) -> Origins:
    """The origin of every leaf and mapping; what is read through `${…}` has the origin of what it reads."""
    found: Origins = {}
    references: dict[Path, Path] = {}
    for file in written:
        for path, origin, text in file:
            found[path] = origin
            references.pop(path, None)
            if text is not None and (target := _target(path, text)):
                references[path] = target
    for override in overrides:
        path = tuple(override.key_or_group.split("."))
        if override.is_delete():
            found = {at: origin for at, origin in found.items() if at[: len(path)] != path}
        elif not override.is_sweep_override():
            for at, value in _leaves(path, override.value()):
                found[at] = COMMAND_LINE
                if isinstance(value, str) and (target := _target(at, value)):
                    references[at] = target
    return _through(found, references)


def _target(path: Path, text: str) -> Path:
    """What a value that is nothing but `${…}` reads; empty for every other value."""
    match = REFERENCE.fullmatch(text)
    if match is None:
        return ()
    dots, name = match.groups()
    return (*(path[: -len(dots)] if dots else ()), *name.split("."))


def _leaves(path: Path, value: object) -> Iterator[tuple[Path, object]]:
    yield path, value
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _leaves((*path, str(key)), item)


def _through(found: Origins, references: Mapping[Path, Path]) -> Origins:
    for _ in range(4):  # a reference may read a reference
        added = {
            (*path, *at[len(target) :]): origin
            for path, target in references.items()
            for at, origin in found.items()
            if len(at) > len(target) and at[: len(target)] == target
        }
        if added.keys() <= found.keys():
            break
        found = {**added, **found}
    return found


def covered_references(written: Sequence[Written], overrides: Sequence[Override]) -> list[Fault]:
    """Values written below a `${…}`: OmegaConf would silently drop everything that the reference reads."""
    references: dict[Path, str] = {}
    faults = []
    for file in written:
        for path, origin, text in file:
            faults += _covered(path, origin, references, is_mapping=text is None)
            references.pop(path, None)
            if text is not None and REFERENCE.fullmatch(text):
                references[path] = text
    for override in overrides:
        path, mapping = tuple(override.key_or_group.split(".")), isinstance(override.value(), dict)
        faults += [] if override.is_delete() else _covered(path, COMMAND_LINE, references, is_mapping=mapping)
    return faults


def _covered(path: Path, origin: str, references: Mapping[Path, str], *, is_mapping: bool) -> Iterator[Fault]:
    for length in range(1, len(path) + is_mapping):
        if text := references.get(path[:length]):
            whole = ".".join(path[:length])
            target = ".".join((*_target(path[:length], text), *path[length:]))
            yield Fault(".".join(path), f"'{whole}' is {text}, which this would replace. Write {target} instead.", origin)
