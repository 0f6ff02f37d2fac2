"""The project's own code: what the files under `stages/` register, found by reading them, not by importing them.

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

FOLDER = "stages"
KINDS = {"stage": "stage", "resource": "resource", "source": "input", "metric": "metric", "schedule": "schedule"}
"""What registers a part, and what kind of part that is."""
REGISTERED = re.compile(
    rf"""^[ \t]*@[ \t]*(?:\w+\.)*(?P<kind>{"|".join(KINDS)})\(\s*(['"])(?P<name>[^'"\n]+)\2""", re.MULTILINE
)
Place = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnFile:
    """One file of the project's code."""

    path: Path
    registers: Mapping[str, str]
    """Name to `stage`, `resource`, `input`, `metric` or `schedule`."""

    @property
    def label(self) -> str:
        """How a run's `plugins` call it: `stages/shout`."""
        return f"{FOLDER}/{self.path.stem}"


def own_files() -> list[OwnFile]:
    """Every file under `stages/` that registers something."""
    paths = (path for path in sorted((project_root() / FOLDER).glob("*.py")) if path.is_file())
    return [one for one in map(_own, paths) if one.registers]


def _own(path: Path) -> OwnFile:
    text = path.read_text(encoding="utf-8", errors="replace")
    return OwnFile(path, {found["name"]: KINDS[found["kind"]] for found in REGISTERED.finditer(text)})


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
    for place, name, is_schedule in _names(values, pipelines):
        for file in own:
            kind = file.registers.get(name)
            if kind is not None and (kind == "schedule") == is_schedule and file.path not in found:
                found.add(file.path)
                yield file, place


def _names(values: Mapping[str, Any], pipelines: Mapping[str, Any]) -> Iterator[tuple[Place, str, bool]]:
    """Place and name of every `use`, then of all that may be a schedule."""
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
            yield (*place, "use"), use, False
    for place, entry in [(("sampling",), values.get("sampling", {})), *entries]:
        for inner, name in schedule_names(entry):
            yield (*place, *inner), name, True


def from_here(path: Path) -> str:
    """A project's file as it is named from the working directory, where a run looks its files up."""
    path = (project_root() / path).resolve()
    return path.relative_to(here).as_posix() if path.is_relative_to(here := Path.cwd()) else os.fspath(path)
