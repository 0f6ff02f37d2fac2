"""Written: the values of files and of the command line, each with its place, in the order Hydra merges them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hydra.core.override_parser.types import Override

from vllm_flow.config.files import ConfigFile

COMMAND_LINE = "command line"
MAPPING, LIST, SCALAR = "a mapping", "a list", "a value"
REFERENCE = re.compile(r"\$\{(\.*)([\w.]+)\}")
Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Value:
    """One value at its place in the whole configuration."""

    path: Keys
    origin: str
    kind: str
    text: str = ""
    """Of a scalar that is a text."""
    deleted: bool = False
    own: bool = True
    """Written by the user, and not in a file that was shipped."""

    @property
    def target(self) -> Keys:
        """What a text that is nothing but `${…}` reads; empty for every other value."""
        match = REFERENCE.fullmatch(self.text)
        if match is None:
            return ()
        dots, name = match.groups()
        return (*(self.path[: -len(dots)] if dots else ()), *name.split("."))


def of_file(file: ConfigFile, place: Keys, own: bool) -> Iterator[Value]:
    """Parents first, the package among them; Hydra's own part is left out."""
    entries = [entry for entry in file.entries if entry.path[0] not in ("defaults", "hydra")]
    for length in range(1, len(place) + 1 if entries else 0):
        yield Value(place[:length], f"{file.label}:{entries[0].line}", MAPPING, own=own)
    for entry in entries:
        kind = SCALAR if entry.text is not None else LIST if entry.is_list else MAPPING
        yield Value((*place, *entry.path), f"{file.label}:{entry.line}", kind, entry.text or "", own=own)


def of_overrides(overrides: Iterable[Override]) -> Iterator[Value]:
    """The values on the command line, those inside a mapping or list included; sweeps are not one value."""
    for override in overrides:
        path = tuple(override.key_or_group.split("."))
        if override.is_delete():
            yield Value(path, COMMAND_LINE, SCALAR, deleted=True)
        elif not override.is_sweep_override():
            yield from _below(path, override.value())


def _below(path: Keys, value: object) -> Iterator[Value]:
    kind = MAPPING if isinstance(value, Mapping) else LIST if isinstance(value, list) else SCALAR
    yield Value(path, COMMAND_LINE, kind, value if isinstance(value, str) else "")
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _below((*path, str(key)), item)
