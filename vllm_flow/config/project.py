"""The project's own code: what its `stages/` and `tools/` register, found by reading them, not by importing them.

A file is imported only when a configuration names what it registers, so a broken file that nobody uses harms nobody.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vllm_flow.config.layers import PRIMARY, TOP_FOLDERS, foreign, project_root, shipped_root
from vllm_flow.core.errors import Fault
from vllm_flow.core.plugins import schedule_names

FOLDERS = ("stages", "tools")
KINDS = {
    "stage": "stage", "resource": "resource", "source": "input", "metric": "metric", "schedule": "schedule",
    "tool": "tool",
}  # fmt: skip
"""What registers a part, and what kind of part that is."""
BARE = ("schedule", "tool")
"""Kinds that are named without a `use`."""
OFFER = "offer"
"""The option of a resource that names tools."""
REGISTERED = re.compile(
    rf"""^[ \t]*@[ \t]*(?:\w+\.)*(?P<kind>{"|".join(KINDS)})\(\s*(['"])(?P<name>[^'"\n]+)\2""", re.MULTILINE
)
BY_ITS_NAME = re.compile(
    r"^[ \t]*@[ \t]*(?:\w+\.)*(?P<kind>tool)[ \t]*(?:#.*)?\n"
    r"(?:[ \t]*[@#].*\n)*[ \t]*(?:async[ \t]+)?def[ \t]+(?P<name>\w+)",
    re.MULTILINE,
)
"""A function that is registered by the name it has."""
Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnFile:
    """One file of the project's code."""

    path: Path
    registers: Mapping[str, str]
    """Name to `stage`, `resource`, `input`, `metric`, `schedule` or `tool`."""

    @property
    def label(self) -> str:
        """How a run's `plugins` call it: `stages/shout`."""
        return f"{self.path.parent.name}/{self.path.stem}"


def own_files() -> list[OwnFile]:
    """Every file under these folders that registers something."""
    paths = (path for name in FOLDERS for path in sorted((project_root() / name).glob("*.py")) if path.is_file())
    return [one for one in map(_own, paths) if one.registers]


def _own(path: Path) -> OwnFile:
    text = path.read_text(encoding="utf-8", errors="replace")
    found = (*REGISTERED.finditer(text), *BY_ITS_NAME.finditer(text))
    return OwnFile(path, {one["name"]: KINDS[one["kind"]] for one in found})


def unread() -> Iterator[Fault]:
    """A conf/config.yaml that is taken for another program's, in a folder that otherwise is a project of ours."""
    root = project_root()
    primary = root / "conf" / f"{PRIMARY}.yaml"
    if root == shipped_root() or not primary.is_file() or not foreign(primary):
        return
    if primary.read_bytes() == (shipped_root() / "conf" / primary.name).read_bytes():
        return  # a checkout, worked in with what was installed from it: the same counts either way
    if own_files() or any(path for folder in TOP_FOLDERS.values() for path in (root / folder).glob("*.yaml")):
        problem = (
            f"it does not build on /shipped/{PRIMARY}, so nothing in it would count. Begin it with"
            f" 'defaults: [/shipped/{PRIMARY}, _self_]', or keep another program's file out of this folder."
        )
        yield Fault(f"conf/{PRIMARY}.yaml", problem)


def named(values: Mapping[str, Any], pipelines: Mapping[str, Any]) -> Iterator[tuple[OwnFile, Place]]:
    """The files that register what this configuration names, by a `use` or as a schedule; each with the first place."""
    own = own_files()
    found: set[Path] = set()
    for place, name, wanted in _names(values, pipelines):
        for file in own:
            kind = file.registers.get(name)
            if kind is not None and (kind if kind in BARE else "") == wanted and file.path not in found:
                found.add(file.path)
                yield file, place


def _names(values: Mapping[str, Any], pipelines: Mapping[str, Any]) -> Iterator[tuple[Place, str, str]]:
    """Place and name of every `use`, of the tools on offer, then of all that may be a schedule; and which it is."""
    tables: list[tuple[Place, Any]] = [((name,), values.get(name)) for name in ("graph", "resources", "metrics")]
    tables += [(("pipelines", name, "graph"), inner.get("graph")) for name, inner in pipelines.items()]
    entries: list[tuple[Place, Mapping[str, Any]]] = [
        ((*place, str(name)), entry)
        for place, table in (*tables, ((), {"input": values.get("input")}))
        for name, entry in (table.items() if isinstance(table, Mapping) else ())
        if isinstance(entry, Mapping)
    ]
    for place, entry in entries:
        if isinstance(use := entry.get("use"), str):
            yield (*place, "use"), use, ""
        if isinstance(offer := entry.get(OFFER), Mapping):
            yield from (((*place, OFFER, str(name)), str(name), "tool") for name in offer)
    for place, entry in [(("sampling",), values.get("sampling", {})), *entries]:
        for inner, name in schedule_names(entry):
            yield (*place, *inner), name, "schedule"


def from_here(path: Path) -> str:
    """A project's file as it is named from the working directory, where a run looks its files up."""
    path = (project_root() / path).resolve()
    return path.relative_to(here).as_posix() if path.is_relative_to(here := Path.cwd()) else os.fspath(path)
