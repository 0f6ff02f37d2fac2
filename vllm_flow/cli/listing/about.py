"""About: what `vllm-flow ls NAME` tells of one name, as data; `--json` prints it, a screen shows it in words."""

from __future__ import annotations

import dataclasses
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from vllm_flow.cli.listing import names
from vllm_flow.cli.listing.examples import around, body, example_of, example_of_word
from vllm_flow.cli.listing.imports import import_file, import_plugin
from vllm_flow.cli.listing.lines import lines_of
from vllm_flow.config import groups, sample_input
from vllm_flow.config.keys import WORDS
from vllm_flow.config.outline import contents, find, text_of
from vllm_flow.config.own_parts import own_parts
from vllm_flow.config.project import from_here
from vllm_flow.core import plugins
from vllm_flow.core.describe import part_of
from vllm_flow.core.errors import ConfigError, Fault

About = dict[str, Any]


def about(kind: str, name: str) -> About:
    """Imports the file or package that registers `name`, and no other. Raises ConfigError when it cannot be."""
    if kind in names.PARTS:
        told = _part(kind, name)
    elif (group := names.group_of(kind)) is not None:
        told = _choice(group, name)
    else:
        told = {"plugins": _plugin, "keys": _key, "words": _word}[kind](name)
    return {**told, "name": name, "kind": kind}


def _part(kind: str, name: str) -> About:
    own = {part.name: part.file for part in own_parts()}
    if name in own:
        import_file(name, own[name])
    entry = names.PARTS[kind].find(name)
    if entry is None:
        problem = f"{own[name].label}.py was imported and registers no {names.PARTS[kind].kind} '{name}'. Mend it."
        raise ConfigError([Fault(f"ls {name}", problem)])
    part = part_of(names.PARTS[kind], entry)
    return {**dataclasses.asdict(part), "example": dataclasses.asdict(example_of(part))}


def _choice(group: str, name: str) -> About:
    file = find(f"{group}/{name}") or Path()
    told: About = {
        "summary": groups()[group][name],
        "choose": " ".join([*around(group), f"{group}={name}"]),
        "file": from_here(file),
        "yaml": body(text_of(file)),
    }
    if group == "pipeline":
        sample = sample_input(name)
        told |= {"sample": from_here(sample) if sample else None, **lines_of(name)}
    return told


def _plugin(name: str) -> About:
    (point, *_) = entry_points(group=plugins.GROUP, name=name)
    import_plugin(f"{name}:")
    registers = {
        kind: [one.name for one in known if one.name.startswith(f"{name}:")] for kind, known in names.PARTS.items()
    }
    return {
        "summary": names.package(point),
        "module": point.value,
        "registers": {kind: found for kind, found in registers.items() if found},
    }


def _key(name: str) -> About:
    """An option, and what the files that can be chosen set it to."""
    option = names.keys()[name]
    group, _, below = name.partition(".")
    files = {choice: contents(f"{group}/{choice}")[1] for choice in groups().get(group, ())}
    written = {choice: values[below] for choice, values in files.items() if below in values}
    return {**dataclasses.asdict(option), "choices": written}


def _word(name: str) -> About:
    return {"summary": WORDS[name], "example": dataclasses.asdict(example_of_word(name))}
