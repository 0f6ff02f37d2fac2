"""Files: one YAML file, read and checked once, as plain data with the line of everything in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from vllm_flow.config.groups import PACKAGE_LINE, header, place_of
from vllm_flow.config.layers import Layer, layers
from vllm_flow.config.limits import content_faults, decoded, syntax_fault, too_deep, too_large
from vllm_flow.core.errors import Fault


@dataclass(frozen=True, slots=True)
class Entry:
    """One value of a file, below the file's package."""

    path: tuple[str, ...]
    line: int
    text: str | None
    """As written, for a scalar; None for a mapping or a list."""
    is_list: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ConfigFile:
    """What one file says, or what is wrong with it."""

    label: str
    package: str | None = None
    data: Any = None
    entries: tuple[Entry, ...] = ()
    """Parents before what they hold; `defaults` among them."""
    faults: tuple[Fault, ...] = ()


def find(config_path: str) -> ConfigFile | None:
    """The file that Hydra knows as `group/choice`, from the first layer that has it."""
    found = ((layer, layer.file(config_path)) for layer in layers())
    return next((read(layer, path) for layer, path in found if path is not None), None)


def read(layer: Layer, path: Path) -> ConfigFile:
    """Raises nothing: what is wrong with a file is in its faults, so that all files' faults are told at once."""
    state = path.stat()
    return _read(path, layer.label(path), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=512)
def _read(path: Path, label: str, _changed: int, _size: int) -> ConfigFile:
    text = decoded(path.read_bytes(), label)
    if isinstance(text, Fault):
        return ConfigFile(label, faults=(text,))
    loader = _loader()
    root = _root(text, label, loader)
    if isinstance(root, Fault):
        return ConfigFile(label, faults=(root,))
    package, _ = header(text)
    faults = [*_misplaced_package(text, label), *content_faults(root, label, place_of(package))]
    if faults:
        return ConfigFile(label, package, faults=tuple(faults))
    try:
        data = loader("").construct_document(root)  # also writes merge keys (`<<`) out in the nodes
    except (yaml.YAMLError, ValueError) as error:
        problem = (getattr(error, "problem", None) or str(error)).splitlines()[0]
        return ConfigFile(label, package, faults=(Fault(label, f"this is no YAML: {problem}."),))
    entries = tuple(_entries(root, ()))
    return ConfigFile(label, package, data, entries, tuple(_unreadable_references(entries, label, place_of(package))))


def _unreadable_references(entries: tuple[Entry, ...], label: str, place: tuple[str, ...]) -> Iterator[Fault]:
    from omegaconf.errors import GrammarParseError
    from omegaconf.grammar_parser import parse

    for entry in entries:
        if entry.text is not None and "${" in entry.text:
            try:
                parse(entry.text)
            except GrammarParseError:
                problem = "this is no reference. Write ${KEY}, or \\${ where the characters themselves are meant."
                yield Fault(".".join((*place, *entry.path)), problem, f"{label}:{entry.line}")


def _root(text: str, label: str, loader: Any) -> yaml.MappingNode | Fault:
    """The node graph of a file that keeps within the limits."""
    try:
        fault = too_deep(text, label, loader)
        root = None if fault else yaml.compose(text, Loader=loader) or yaml.compose("{}", Loader=loader)
    except yaml.YAMLError as error:
        return syntax_fault(error, text, label)
    if fault:
        return fault
    if not isinstance(root, yaml.MappingNode):
        line = root.start_mark.line + 1 if root and root.start_mark else 1
        return Fault(f"{label}:{line}", "a file holds a mapping. Write `key: value` lines.")
    return too_large(root, label) or root


def _misplaced_package(text: str, label: str) -> Iterator[Fault]:
    for number, line in enumerate(text.splitlines()[1:], 2):
        if line.startswith("#") and PACKAGE_LINE.fullmatch(line):
            problem = "'# @package' counts in line 1 only, and is ignored here. Move it up."
            yield Fault(f"{label}:{number}", problem)


def _entries(node: yaml.Node, path: tuple[str, ...]) -> Iterator[Entry]:
    if isinstance(node, yaml.MappingNode):
        below = [(str(key.value), key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        below = [(str(index), value, value) for index, value in enumerate(node.value)]
    else:
        return
    for name, marked, value in below:
        text = value.value if isinstance(value, yaml.ScalarNode) else None
        yield Entry((*path, name), marked.start_mark.line + 1, text, isinstance(value, yaml.SequenceNode))
        yield from _entries(value, (*path, name))


@cache
def _loader() -> Any:
    """PyYAML's C parser where there is one, reading scalars as OmegaConf does: `1e3` is a number, a date is a text."""
    from omegaconf._utils import get_yaml_loader

    fast: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    resolvers = get_yaml_loader().yaml_implicit_resolvers
    return type("Loader", (fast,), {"yaml_implicit_resolvers": resolvers})
