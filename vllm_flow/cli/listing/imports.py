"""Imports: the code of a project or a plugin that is run because somebody asks about it by name, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vllm_flow.config.project import OwnFile, from_here, named
from vllm_flow.core import plugins
from vllm_flow.core.errors import ConfigError, Fault
from vllm_flow.core.spec import RunSpec


def import_file(name: str, file: OwnFile) -> None:
    """The file that registers `name`. Raises ConfigError when it cannot be imported."""
    _refuse(name, plugins.load(RunSpec("", {}, "", plugins={file.label: from_here(file.path)})))


def import_plugin(name: str) -> None:
    """The package of a name such as `acme:role/manner`, or of `acme:`. Raises ConfigError when it cannot be had."""
    _refuse(name.removesuffix(":"), plugins.load(RunSpec("", {"x": {"use": name}}, "")))


def _refuse(name: str, problems: Any) -> None:
    if found := [Fault(f"ls {name}", problem) for _, _, problem in problems]:
        raise ConfigError(found)


def import_for(nodes: Mapping[str, Any], written: Any) -> list[str]:
    """What the nodes of a pipeline name, and the `plugins` written beside them. Returns what cannot be had."""
    listed = written.items() if isinstance(written, Mapping) else ()
    own = {str(label): from_here(Path(item)) if str(item).endswith(".py") else str(item) for label, item in listed}
    for file, _ in named({"graph": nodes}, {}):
        own.setdefault(file.label, from_here(file.path))
    return [problem for _, _, problem in plugins.load(RunSpec("", nodes, "", plugins=own))]
