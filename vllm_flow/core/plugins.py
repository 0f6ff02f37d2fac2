"""Plugins: which modules are imported so that their stages register. Importing is all a plugin does; nothing is magic.

In this order: the built-in packages; the `plugins:` of the configuration (a Python file of the project, or an installed
module); an installed package's entry point, only when a `use` names it as `package:role/manner`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
import types
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from vllm_flow.core import spec
from vllm_flow.core.errors import FlowError, listed, nearest, told
from vllm_flow.core.ranges import RANGES
from vllm_flow.core.registry import WORD

PACKAGES = (
    "stages", "schedules", "engines", "stores", "clocks", "inputs", "metrics", "web", "embedders", "sources", "tools",
    "media", "describers", "transcribers",
)  # fmt: skip
BUILT_IN = tuple(f"vllm_flow.{name}" for name in PACKAGES)
GROUP = "vllm_flow.plugins"
NO_WORD = re.compile(r"\W")


def load_built_in() -> None:
    for module in BUILT_IN:
        importlib.import_module(module)


def load(run: spec.RunSpec, root: Path | None = None) -> Iterator[tuple[spec.Path, str, str]]:
    """Import what the spec names; yield path, package ("" for user code) and problem of each that cannot be had."""
    load_built_in()
    for label, item in run.plugins.items():
        if problem := _load_one(str(item), root or Path.cwd()):
            yield ("plugins", label), "", problem
    for package, path in _packages_named_in(run).items():
        if problem := _load_package(package):
            yield path, package, problem


def _packages_named_in(run: spec.RunSpec) -> dict[str, spec.Path]:
    tables: list[tuple[spec.Path, Mapping[str, Any]]] = [((), {"input": run.input})]
    tables += [(("resources",), run.resources), (("graph",), run.graph), (("metrics",), run.metrics)]
    tables += [(("pipelines", name, "graph"), inner.get("graph") or {}) for name, inner in run.pipelines.items()]
    named: dict[str, spec.Path] = {}
    for path, table in tables:
        for name, entry in table.items() if isinstance(table, Mapping) else ():
            use = entry.get("use") if isinstance(entry, Mapping) else None
            if isinstance(use, str) and ":" in use:
                named.setdefault(use.rpartition(":")[0], (*path, str(name), "use"))
    for path, name in schedules_named_in(run):
        if ":" in name and WORD.fullmatch(name):
            named.setdefault(name.rpartition(":")[0], path)
    return named


def schedules_named_in(run: spec.RunSpec) -> Iterator[tuple[spec.Path, str]]:
    """All that may name the schedule of a sampling parameter, under `sampling` or in a node's `set`, with its place."""
    graphs: dict[spec.Path, Any] = {("graph",): run.graph}
    graphs |= {("pipelines", name, "graph"): inner.get("graph") or {} for name, inner in run.pipelines.items()}
    given: list[tuple[spec.Path, Any]] = [(("sampling",), run.sampling)]
    for path, nodes in graphs.items():
        for name, node in nodes.items() if isinstance(nodes, Mapping) else ():
            given.append(((*path, str(name), "set"), node.get("set") if isinstance(node, Mapping) else None))
    for path, parameters in given:
        for name, value in parameters.items() if isinstance(parameters, Mapping) else ():
            if name in RANGES:
                yield from schedule_names(value, (*path, name))


def schedule_names(value: Any, path: spec.Path = ()) -> Iterator[tuple[spec.Path, str]]:
    """All that may name a schedule in what is configured: each text, and the key of each mapping of one entry."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            place = (*path, str(key))
            if len(value) == 1:
                yield place, str(key)
            yield from schedule_names(item, place)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from schedule_names(item, (*path, str(number)))


def _load_package(name: str) -> str | None:
    installed = entry_points(group=GROUP)
    points = [point for point in installed if point.name == name]
    if not points:
        others = [point.name for point in installed]
        return f"no installed package offers the plugin '{name}'.{nearest(name, others)} Installed: {listed(others)}."
    for point in points:
        try:
            point.load()
        except (Exception, SystemExit) as cause:
            return f"the plugin '{name}' ({point.value}) cannot be imported: {_why(cause)}. Mend or reinstall it."
    return None


def _load_one(item: str, root: Path) -> str | None:
    path = (root / item).resolve()
    try:
        if item.endswith(".py"):
            _import_file(path)
        else:
            importlib.import_module(item)
    except (Exception, SystemExit) as cause:
        line = _line_in(path, cause)
        return (
            f"'{item}' cannot be imported: {_why(cause)}{f' (line {line})' if line else ''}. Mend it, or do without it."
        )
    return None


def _import_file(path: Path) -> None:
    """Import a file as a module of a package that stands for its folder, so that `from .other import …` works in it.

    The package's name depends on the folder, so that files of one name in two projects are two modules. A file that a
    test has imported under its own name is left at that, or there would be two classes of everything in it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if any(getattr(module, "__file__", None) == str(path) for module in list(sys.modules.values())):
        return
    package = f"vllm_flow_project_{hashlib.sha256(bytes(path.parent)).hexdigest()[:8]}"
    if package not in sys.modules:
        sys.modules[package] = types.ModuleType(package, f"The files in {path.parent}.")
        sys.modules[package].__path__ = [str(path.parent)]
    importlib.invalidate_caches()  # a neighbour may be newer than the last look into the folder
    name = f"{package}.{NO_WORD.sub('_', path.stem)}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # @dataclass looks its module up by name while the file still executes
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _why(cause: BaseException) -> str:
    return told(cause).removesuffix(".")


def _line_in(path: Path, cause: BaseException) -> int | None:
    """The last line of this file that the error came through."""
    if isinstance(cause, FlowError) or (isinstance(cause, SyntaxError) and cause.filename == str(path)):
        return None  # its text says the place
    frames = traceback.extract_tb(cause.__traceback__)
    return next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
