"""The tree of keys that `key=value` can set, for completion: read from files alone, since composing takes too long.

The options of shipped parts stand in the JSON Schema, those of the project's own in their source, and which of them
apply follows from the choices on the command line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Union

from vllm_flow.cli.words import flow
from vllm_flow.config.groups import IMPLIED_INPUT, read_groups
from vllm_flow.config.layers import shipped_root
from vllm_flow.config.outline import contents, outline
from vllm_flow.config.own_parts import own_parts

FILES = ("path", "gguf", "image", "audio")
"""Options whose value is the name of a file or folder."""
WHOLE = {"$ref": "#/$defs/Schedule"}
KINDS = ("Stage", "Resource", "Input", "Metric")
TOP = ("seed", "concurrency", "sweep")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A key that takes a value."""

    about: str = ""
    values: tuple[str, ...] = ()
    """Those it can be chosen from, as a command line writes them."""
    is_file: bool = False
    moves: bool = False
    """Whether a schedule may stand for the value."""


Tree = dict[str, Union[Leaf, "Tree"]]


def key_tree(choices: Mapping[str, str]) -> Tree:
    """All keys for these choices, group to name. A group's name stands for the place where its values go."""
    shipped, found = _shipped(), outline(choices)
    options = _options_by_use(shipped)
    nodes, top = _tables(found.get("graph")), shipped["Top"]["properties"]
    values = {"use": tuple(parts("Stage")), "when": tuple(nodes), "each": ()}
    reserved = shipped["Stage"]["properties"]
    words: Tree = {word: Leaf(reserved[word]["description"], some) for word, some in values.items()}
    tree: Tree = {name: _leaf(name, top[name]) for name in TOP}
    tree["output"] = Leaf(top["output"]["description"], tuple(nodes))
    tree |= {name.lower(): _tree(shipped[name]["properties"]) for name in ("Sampling", "Model")}
    tree["graph"] = {name: words | _open(node, options) for name, node in nodes.items()}
    tree["resources"] = {name: _open(one, options) for name, one in _tables(found.get("resources")).items()}
    measures = {"use": Leaf(shipped["Metric"]["properties"]["use"]["description"], tuple(parts("Metric")))}
    tree["metrics"] = {name: measures | _open(one, options) for name, one in _tables(found.get("metrics")).items()}
    tree["input"] = _open(_mapping(found.get("input")), options) | ({} if "input" in choices else _implied(options))
    places = {name: group.place for name, group in read_groups().items() if group.place}
    return tree | {name: below(tree, place) for name, place in places.items()}


def _implied(options: Mapping[str, Tree]) -> Tree:
    """The keys of inputs that need not be chosen."""
    found: Tree = {}
    for key, choice in IMPLIED_INPUT.items():
        name = key.rpartition(".")[2]
        found[name] = options[str(contents(f"input/{choice}")[1]["use"])][name]
    return found


def _open(entry: Mapping[str, Any], options: Mapping[str, Tree]) -> Tree:
    """The options of what an entry uses, but for those that it takes whole from elsewhere."""
    known = options.get(str(entry.get("use")), {})
    return {name: inner for name, inner in known.items() if not str(entry.get(name)).startswith("${")}


def parts(*kinds: str) -> dict[str, str]:
    """What a `use` can name, each with its one line, of all kinds or of some."""
    found: dict[str, str] = {}
    for kind in kinds or KINDS:
        uses = _shipped()[kind]["properties"]["use"]["anyOf"][0]
        found |= dict(zip(uses["enum"], uses["enumDescriptions"], strict=True))
    return found | {part.name: part.summary for part in own_parts() if part.kind.title() in (kinds or KINDS)}


def schedule_names() -> dict[str, str]:
    """Each schedule with its one line."""
    shipped = _shipped()["Schedule"]["properties"]
    own = {part.name: part.summary for part in own_parts() if part.kind == "schedule"}
    return {name: str(one["description"]) for name, one in shipped.items()} | own


def schedules() -> dict[str, str]:
    """How each schedule is written, as a command line takes it, with its one line."""
    about, found = schedule_names(), {}
    for one in _shipped()["Schedule"]["examples"]:
        name = one if isinstance(one, str) else next(iter(one))
        found[flow({name: {}} if isinstance(one, str) else one)] = about.pop(name)
    return found | {f"{{{name}: {{}}}}": line for name, line in about.items()}


def _shipped() -> dict[str, Any]:
    """The parts of the JSON Schema."""
    found: dict[str, Any] = json.loads((shipped_root() / "conf" / "schema.json").read_text(encoding="utf-8"))
    return found["$defs"]  # type: ignore[no-any-return]


def below(tree: Tree, place: tuple[str, ...]) -> Tree:
    """The tree at a place; empty where there is none."""
    for name in place:
        inner = tree.get(name)
        tree = inner if isinstance(inner, dict) else {}
    return tree


def dotted(tree: Tree, place: tuple[str, ...] = ()) -> Iterator[tuple[str, Leaf]]:
    """Every key that takes a value."""
    for name, inner in tree.items():
        if isinstance(inner, dict):
            yield from dotted(inner, (*place, name))
        else:
            yield ".".join((*place, name)), inner


def _options_by_use(shipped: Mapping[str, Any]) -> dict[str, Tree]:
    rules = [rule for kind in KINDS for rule in shipped[kind]["allOf"]]
    found = {rule["if"]["properties"]["use"]["const"]: _tree(rule["then"]["properties"]) for rule in rules}
    for part in own_parts():
        found[part.name] = {
            name: Leaf(values=tuple(map(flow, values)), is_file=name in FILES) for name, values in part.options.items()
        }
    return found


def _tree(properties: Mapping[str, Any]) -> Tree:
    return {name: _leaf(name, schema) for name, schema in properties.items() if isinstance(schema, dict)}


def _leaf(name: str, schema: Mapping[str, Any]) -> Leaf | Tree:
    alternatives = (schema, *schema.get("anyOf", ()))
    inner = next((one["properties"] for one in alternatives if "properties" in one), None)
    if inner is not None:
        return _tree(inner)
    values = tuple(value for one in alternatives for value in _values(one))
    return Leaf(schema.get("description", ""), values, name in FILES, schema.get("allOf") == [WHOLE])


def _values(schema: Mapping[str, Any]) -> Iterator[str]:
    yield from map(flow, schema.get("enum", ()))
    kinds = schema.get("type", ())
    kinds = [kinds] if isinstance(kinds, str) else kinds
    yield from ("true", "false") if "boolean" in kinds else ()
    yield from ("null",) if "null" in kinds else ()


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _tables(value: Any) -> dict[str, Mapping[str, Any]]:
    return {str(name): _mapping(one) for name, one in _mapping(value).items()}
