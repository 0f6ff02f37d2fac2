"""Examples: how a part is written, taken from a file that uses it, since a file that runs cannot grow stale."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vllm_flow.cli.words import flow
from vllm_flow.config import groups, schedules
from vllm_flow.config.outline import LOADER, contents, find, text_of
from vllm_flow.config.project import OFFER, from_here
from vllm_flow.core.describe import Option, Part
from vllm_flow.core.registry import schedule, tool

PIPELINE, EXPERIMENT = "pipeline", "experiment"
USUAL = "dialogue"
MISSING = "???"
SUCH_AS = re.compile(r"such as (?:`([^`]+)`|(\S*\w))")
TABLES = {"stage": "graph", "resource": "resources", "metric": "metrics"}


@dataclass(frozen=True, slots=True)
class Example:
    """A piece of YAML as it stands in a file, below the keys that lead to it."""

    yaml: str
    file: str = ""
    """Empty when no file uses the part: then this is only how a node of it is written."""
    overrides: tuple[str, ...] = ()
    """With them `vllm-flow check` composes the example."""


def example_of(part: Part) -> Example:
    """From a file of a group, which is there to be chosen, or from the smallest pipeline; else written out."""
    if part.kind == schedule.kind:
        return _of_schedule(part)
    if part.kind == tool.kind:
        return _of_tool(part)
    for group, choices in groups().items():
        for choice in choices:
            values = contents(f"{group}/{choice}")[1]
            if values.get("use") == part.name:
                return _of_choice(group, choice, part)
            if part.kind == "metric" and any(_use(one) == part.name for one in values.values()):
                return _of_file(group, choice)
    return _of_node(lambda node: node.get("use") == part.name) or Example(_written_out(part))


def _of_schedule(part: Part) -> Example:
    """In the place of a number: no `use` names it."""
    entry = schedule.find(part.name)
    if entry is None or part.problem:
        return Example(below(("sampling",), f"temperature: {part.name}"))
    text, steered = flow(schedules.example(entry)), schedules.parameter(entry)
    return Example(below(("sampling",), f"{steered}: {text}"), "", ("--sampling", f"sampling.{steered}={text}"))


def _of_tool(part: Part) -> Example:
    """On offer, beside others, with what it cannot do without."""
    given = ", ".join(f"{one.name}: {_sample(one)}" for one in part.options if one.required)
    return Example(below(("resources", "tools", OFFER), f"{part.name}: {{{given}}}"))


def example_of_word(word: str) -> Example:
    """A node of the smallest pipeline that has one with this word; else written out."""
    return _of_node(lambda node: word in node) or Example(f"graph:\n  NODE: {{use: STAGE, {word}: VALUE}}")


def body(text: str) -> str:
    """A file without the comments it begins with."""
    lines = text.splitlines()
    start = next((place for place, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    return "\n".join(lines[start:]).rstrip()


def _of_choice(group: str, choice: str, part: Part) -> Example:
    path = f"{group}/{choice}"
    place, values = contents(path)
    file = find(path) or Path()
    text, overrides = body(text_of(file)), [*around(group), _chooser(group, choice) or f"{group}={choice}"]
    for option in part.options:
        if values.get(option.name) == MISSING:
            given = _sample(option)
            text = text.replace(f"{option.name}: {MISSING}", f"{option.name}: {given}")
            overrides.append(f"{group}.{option.name}={given}")
    return Example(below(place, text), from_here(file), tuple(overrides))


def _use(entry: Any) -> Any:
    return entry.get("use") if isinstance(entry, dict) else None


def _of_file(group: str, choice: str) -> Example:
    """A whole file, where it is a table of parts that belong together."""
    path = f"{group}/{choice}"
    file = find(path) or Path()
    return Example(below(contents(path)[0], body(text_of(file))), from_here(file), (f"{group}={choice}",))


def around(group: str) -> list[str]:
    """The smallest pipeline that has room for what the group holds, when the usual one has not."""
    chosen = {name for name in groups()[PIPELINE] if _chooses(f"{PIPELINE}/{name}", group)}
    if not chosen or _chooses("config", group) or USUAL in chosen:
        return []
    sizes = {name: len(contents(f"{PIPELINE}/{name}")[1].get("graph") or {}) for name in chosen}
    return [f"{PIPELINE}={min(sizes, key=lambda name: (sizes[name], name))}"]


def _chooses(path: str, group: str) -> bool:
    lines = contents(path)[1].get("defaults") or ()
    return any(isinstance(line, dict) and f"/{group}" in line for line in lines)


def _chooser(group: str, choice: str) -> str:
    """The choice of another group that needs this one, and brings what it needs: a model its engine; empty if none."""
    for other, names in groups().items():
        for name in names:
            for line in contents(f"{other}/{name}")[1].get("defaults") or ():
                if isinstance(line, dict) and any(
                    key.startswith(f"override /{group}@") and value == choice for key, value in line.items()
                ):
                    return f"{other}={name}"
    return ""


def _of_node(fits: Any) -> Example | None:
    """Of the smallest pipeline that has one, else of an experiment."""
    for group in (PIPELINE, EXPERIMENT):
        found: list[tuple[int, str, str, str]] = []
        for choice in groups().get(group, ()):
            graph = contents(f"{group}/{choice}")[1].get("graph")
            nodes = graph.items() if isinstance(graph, dict) else ()
            file = find(f"{group}/{choice}") or Path()
            for name, node in nodes:
                if isinstance(node, dict) and fits(node) and (text := _excerpt(text_of(file), ("graph", str(name)))):
                    found.append((len(nodes), choice, text, from_here(file)))
        if found:
            _, choice, text, place = min(found)
            return Example(below(("graph",), text), place, (f"{group}={choice}",))
    return None


def _excerpt(text: str, path: tuple[str, ...]) -> str:
    """The lines of one key and its value, as they are written; nothing where a merge key (`<<`) brings them."""
    key: Any = None
    node: Any = yaml.compose(text, LOADER)
    for name in path:
        key, node = next(((key, value) for key, value in node.value if key.value == name), (None, node))
        if key is None:
            return ""
    cut = " " * key.start_mark.column + text[key.start_mark.index : node.end_mark.index]
    lines = textwrap.dedent(cut).splitlines()
    while not lines[-1].strip() or lines[-1].lstrip().startswith("#"):  # they belong to the next key
        lines.pop()
    return "\n".join(lines)


def below(place: tuple[str, ...], text: str) -> str:
    """`text` below the keys that lead to it."""
    for name in reversed(place):
        text = f"{name}:\n{textwrap.indent(text, '  ')}"
    return text


def _written_out(part: Part) -> str:
    given = [f"{option.name}: {_sample(option)}" for option in part.options if option.required]
    entry = "\n".join([f"use: {part.name}", *given])
    if part.kind not in TABLES:
        return below(("input",), entry)
    return below((TABLES[part.kind], re.split("[/:]", part.name)[-1].replace("-", "_")), entry)


def _sample(option: Option) -> str:
    """A value that fits: what its text gives as `such as …`, else a text in capitals, else `???`."""
    if "enum" in option.schema:
        return str(option.schema["enum"][0])
    if option.schema.get("type") != "string":
        return MISSING
    named = SUCH_AS.search(option.doc)
    return named[1] or named[2] if named else option.name.upper()
