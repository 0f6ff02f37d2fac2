"""Spec: from a composition to the plain RunSpec, the last place that sees OmegaConf."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from vllm_flow.config.composition import Composition, FlowLoader
from vllm_flow.config.keys import TOP, unknown_key
from vllm_flow.config.layers import project_root, sample_input
from vllm_flow.config.origins import Origins
from vllm_flow.config.plain import plain
from vllm_flow.config.project import from_here, named, own_files
from vllm_flow.config.secrets import PROBLEM, secrets_in
from vllm_flow.config.written import Keys
from vllm_flow.core.errors import ConfigError, Fault, listed, nearest
from vllm_flow.core.option_checks import problems
from vllm_flow.core.options import ChangesOf, at_least
from vllm_flow.core.spec import RunSpec
from vllm_flow.sweep.settings import Sweep

NESTED = "pipeline/"
SAMPLE = "input/sample"


@dataclass(frozen=True)
class Settings:
    """The top of a configuration, for its types; stages, resources and inputs check what lies below."""

    graph: Mapping[str, Any]
    output: str
    resources: Mapping[str, Any] = field(default_factory=dict)
    sampling: Mapping[str, Any] = field(default_factory=dict)
    input: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    concurrency: Annotated[int, at_least(1)] = 256
    sweep: Annotated[Mapping[str, Any], ChangesOf(Sweep)] = field(default_factory=dict)


def spec_of(composition: Composition, loader: FlowLoader) -> RunSpec:
    """Raises ConfigError with every value that is missing, unresolved, of the wrong kind or a secret."""
    origins, changing = dict(composition.written.origins), dict(composition.written.changing)
    name = str(composition.choices.get("pipeline"))
    values = _checked(composition, loader)
    values.pop("model", None)
    values["repeat"] = values.pop("sweep", {}).get("repeat", 1)  # the rest is about other points
    faults: list[Fault] = []
    pipelines = _nested(values["graph"], origins, changing, loader, faults)
    values["input"] = _with_sample(values.get("input", {}), name, origins)
    if faults:
        raise ConfigError(faults)
    for key in ("seed", "concurrency", "repeat"):
        values[key] = int(values[key])  # JSON Schema takes 1000.0 for an integer
    values["plugins"] = _with_own_files(values, pipelines, origins)
    about: dict[str, Any] = {
        "origins": origins,
        "chosen": composition.written.chosen,
        "changing": changing,
        "choices": {group: str(one) for group, one in composition.choices.items() if group in loader.groups},
        "project": os.fspath(project_root()),
        "offered": {name: kind for file in own_files() for name, kind in file.registers.items()},
    }
    return RunSpec(name=name, **values, pipelines=pipelines, **about)


def _checked(composition: Composition, loader: FlowLoader) -> dict[str, Any]:
    """The configuration as plain data. Raises ConfigError with every fault in it."""
    config, origins = composition.config, composition.written.origins
    values, unresolved = plain(config, [str(key) for key in config if key in TOP])
    faults = [_fault(path, problem, origins) for path, problem in unresolved]
    for key in config:
        if key not in TOP:
            faults.append(unknown_key(str(key), loader.groups, _origin(origins, (str(key),))))
    if not faults:
        faults += [_fault(path, PROBLEM, origins) for path in secrets_in(values)]
        faults += [_fault(one.path, one.problem, origins) for one in problems(Settings, values)]
    if not faults:
        faults += [_fault(path, problem, origins) for path, problem in _of_nothing(values, composition, loader)]
    if faults:
        raise ConfigError(faults)
    return values


def _of_nothing(values: Mapping[str, Any], composition: Composition, loader: FlowLoader) -> Iterator[tuple[Keys, str]]:
    """Options of a group from which nothing is chosen, such as of a tagger where there is none."""
    for name, group in loader.groups.items():
        if len(group.place) != 2 or composition.choices.get(name) is not None:
            continue
        table, key = group.place
        given = values.get(table, {}).get(key)
        if isinstance(given, Mapping) and given and "use" not in given:
            what = f"it is an option of what {name}=… chooses, and nothing is chosen"
            yield (table, key, next(iter(given))), f"{what}. Choose one of: {listed(group.comments)}."


def _nested(graph: Any, origins: Origins, changing: Origins, loader: FlowLoader, faults: list[Fault]) -> dict[str, Any]:
    """The graphs of the pipelines that nodes use, and of those that these use, each composed with its own choices."""
    found: dict[str, Any] = {}
    waiting: list[tuple[Any, Keys]] = [(graph, ("graph",))]
    while waiting:
        nodes, place = waiting.pop(0)
        for node, name in _used(nodes):
            if name in found:
                continue
            names = loader.groups["pipeline"].comments
            if name not in names:
                problem = f"there is no pipeline '{name}'.{nearest(name, names)} There are: {listed(names)}."
                faults.append(_fault((*place, node, "use"), problem, origins))
                continue
            found[name] = {}
            try:
                inner = loader.pipeline(name)
                values = _checked(inner, loader)
            except ConfigError as error:
                faults += error.faults
                continue
            found[name] = {"graph": values["graph"], "output": values["output"]}
            for known, of_inner in ((origins, inner.written.origins), (changing, inner.written.changing)):
                kept = {at: one for at, one in of_inner.items() if at[0] in found[name]}
                known.update({("pipelines", name, *at): one for at, one in kept.items()})
            waiting.append((values["graph"], ("pipelines", name, "graph")))
    return found


def _used(nodes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Node and pipeline for each node that runs another pipeline."""
    for node, options in nodes.items():
        use = options.get("use") if isinstance(options, Mapping) else None
        if isinstance(use, str) and use.startswith(NESTED):
            yield node, use.removeprefix(NESTED)


def _with_sample(given: dict[str, Any], name: str, origins: Origins) -> dict[str, Any]:
    """`input/sample` is the rows beside the pipeline; a pipeline without rows is one whose turns the caller brings."""
    if given.get("use") != SAMPLE:
        return given
    path = sample_input(name)
    if path is None:
        return {}
    origins["input", "path"] = _origin(origins, ("input", "use"))
    return {**given, "use": "input/file", "path": from_here(path)}


def _with_own_files(values: Mapping[str, Any], pipelines: Mapping[str, Any], origins: Origins) -> dict[str, str]:
    """The plugins as written, and the project's files that the configuration names without writing them."""
    written = values.get("plugins", {})
    plugins = {label: from_here(Path(item)) if item.endswith(".py") else item for label, item in written.items()}
    for file, place in named(values, pipelines):
        if (path := from_here(file.path)) not in plugins.values():
            plugins[file.label] = path
            origins["plugins", file.label] = _origin(origins, place)
    return plugins


def _fault(path: Keys, problem: str, origins: Origins) -> Fault:
    return Fault(".".join(path), problem, _origin(origins, path))


def _origin(origins: Origins, path: Keys) -> str:
    return RunSpec("", {}, "", origins=origins).origin(path)
