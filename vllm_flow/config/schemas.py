"""Schemas: one JSON Schema for everything a file may say, so that an editor finds what `check` would find.

It is made from the same declarations that `check` reads, and never written by hand. The root is a file that writes at
the top, which the composed configuration fits too; `$defs` has the part that a file of each group holds, so line 2 of
`conf/sampling/greedy.yaml` is `# yaml-language-server: $schema=../schema.json#/$defs/sampling`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vllm_flow.config import keys, schedules
from vllm_flow.config.described import REFERENCE, described, opened, reference
from vllm_flow.config.groups import OPTIONAL, Group, read_groups
from vllm_flow.config.layers import PRIMARY, SHIPPED, Layer, shipped_root
from vllm_flow.config.limits import REFUSED_HYDRA
from vllm_flow.config.own_parts import own_parts
from vllm_flow.config.project import own_files
from vllm_flow.config.spec import NESTED, SAMPLE, Settings
from vllm_flow.core import plugins, registry
from vllm_flow.core.metric_ports import GIVEN as GIVEN_TO_METRICS
from vllm_flow.core.metrics import ALWAYS
from vllm_flow.core.options import schema_of
from vllm_flow.core.phrases import JsonSchema
from vllm_flow.models.spec import Model

DRAFT = "https://json-schema.org/draft/2020-12/schema"
VALUE_NAME = r"^[^\s\d!-/:-@\[-^`{-~][^\s!-/:-@\[-^`{-~]*$"
"""What Python takes for the name of a parameter, close enough: no space, no mark but `_`, no digit first."""
WORDS: JsonSchema = {
    "from": {
        "description": keys.WORDS["from"],
        **opened({"anyOf": [{"type": "object", "additionalProperties": {"type": "string"}}, {"type": "null"}]}),
    },
    "when": {"description": keys.WORDS["when"], "type": ["string", "null"], "minLength": 1},
    "each": {"description": keys.WORDS["each"], "type": ["string", "null"], "minLength": 1},
}
OF_A_PACKAGE = r"^[\w.-]+:[\w-]+/[\w-]+$"
"""What an installed package registers is known when a configuration names it, and not before."""
GIVEN = ("turn", "sampling")
ANY_MAPPING = opened({"type": "object"})
PLACES = {
    (): "Top", ("input",): "Input", ("metrics",): "Metrics", ("sampling",): "Sampling", ("model",): "Model",
}  # fmt: skip
TABLES = {"graph": "Stage", "resources": "Resource"}
Groups = Mapping[str, Group]


def schema() -> JsonSchema:
    """The schema (draft 2020-12) of what is registered and what can be chosen now; the same each time for the same."""
    plugins.load_built_in()
    groups = dict(sorted(read_groups().items()))
    parts: JsonSchema = {
        "Top": _top(),
        "Stage": _chosen_by_use(registry.stage, keys.WORDS["use"], _nested(groups), WORDS),
        "Resource": _chosen_by_use(registry.resource, "What it is."),
        "Input": _chosen_by_use(registry.source, "Where turns come from.", _sample(groups)),
        "Metric": _chosen_by_use(registry.metric, "What it measures.", words={"from": WORDS["from"]}),
        "Metrics": _part(_metrics()),
        **_sampling(),
        "Model": _part(opened(schema_of(Model), (Model,))),
        "Choice": _choice(groups, ("/", "override /")),
        "Whole": {"enum": ["_self_", *_whole_files(groups)]},
        **{f"{name}.choice": _names(group) for name, group in groups.items()},
    }
    files = {name: _file(group.place, group.comments, {"$ref": "#/$defs/Choice"}) for name, group in groups.items()}
    root = _file((), (), _choice(groups, ("/", "override /", "")))
    return {"$schema": DRAFT, **root, "$defs": {**files, **parts}}


def _top() -> JsonSchema:
    """What a file may say that writes at the top, and what is left when everything is composed."""
    plain = described(Settings)
    schemas = {name: {**schema, "description": keys.ABOUT[name]} for name, schema in plain["properties"].items()}
    schemas |= {place[0]: _below(part) for place, part in PLACES.items() if place}
    given = _without(GIVEN, "This is given to every graph. Choose another name for the value.")
    nodes = {"patternProperties": {VALUE_NAME: _below("Stage")}, "additionalProperties": False, "allOf": [given]}
    schemas["graph"] = {**ANY_MAPPING, **nodes}
    schemas["resources"] = {**ANY_MAPPING, "additionalProperties": _below("Resource")}
    for name in schemas:
        schemas[name] = {"description": keys.ABOUT[name], **schemas[name]}
    schemas["hydra"] = _hydra()
    return _part({**plain, "description": "A configuration.", "properties": schemas})


def _metrics() -> JsonSchema:
    """A table of metrics, by names that other metrics may ask for. One that is always there may be given options."""
    given = _without(GIVEN_TO_METRICS, "This is given to every metric. Choose another name for this one.")
    rest = {"patternProperties": {VALUE_NAME: _below("Metric")}, "additionalProperties": False, "allOf": [given]}
    return {**ANY_MAPPING, "properties": {name: _always(use) for name, use in ALWAYS.items()}, **rest}


def _always(use: str) -> JsonSchema:
    """An entry that may leave `use` out, since it is known."""
    entry = registry.metric.find(use)
    rule = _rule(use, _options(entry), ("from",)) if entry else {}
    return {**rule, "if": {"type": "object", "properties": {"use": False}}}


def _sampling() -> JsonSchema:
    """The sampling parameters, in a file of theirs and in the place of others, and the schedules they may follow."""
    own = {part.name: part.summary for part in own_parts() if part.kind == registry.schedule.kind}
    options = {entry.name: _options(entry) for entry in registry.schedule}
    alone = own.keys() | {name for name, one in options.items() if not one.get("required")}
    plain = schedules.sampling(alone)
    return {
        "Sampling": _part(plain),
        "Changes": _partial({**plain, "type": ["object", "string"], "pattern": REFERENCE}),
        "Moving": schedules.may_move({"type": "number"}, alone),
        "Schedule": _partial(schedules.whole(own, options, [schedules.example(one) for one in registry.schedule])),
    }


def _hydra() -> JsonSchema:
    """Hydra's own settings, which are Hydra's to check, but for what we refuse."""
    rules = []
    for key, reason in REFUSED_HYDRA.items():
        *above, last = key.split(".")[1:]
        rule = _without([last], reason)
        for name in reversed(above):
            rule = {"properties": {name: rule}}
        rules.append(rule)
    return {"description": "Settings of Hydra: folders, launcher, sweeper.", "type": "object", "allOf": rules}


def _chosen_by_use(
    kind: registry.Registry, about: str, more: JsonSchema | None = None, words: JsonSchema | None = None
) -> JsonSchema:
    """A mapping whose `use` decides about its other keys. Without `use` it changes an entry of another file: anything.

    `if` and `then`, and no alternatives, so that an editor knows which options are meant however wrong they are.
    """
    words = words or {}
    known = {entry.name: _options(entry) for entry in kind} | (more or {})
    own = (name for file in own_files() for name, of in file.registers.items() if of == kind.kind)
    known |= {name: {} for name in own if name not in known}
    named = {"enum": list(known), "enumDescriptions": [one.get("description", "") for one in known.values()]}
    uses = {"description": about, "anyOf": [named, {"type": "string", "pattern": rf"{OF_A_PACKAGE}|{REFERENCE}"}]}
    rules = [_rule(name, options, words) for name, options in known.items() if "properties" in options]
    return {**ANY_MAPPING, "properties": {"use": uses, **words}, "allOf": rules}


def _options(entry: registry.Entry) -> JsonSchema:
    try:
        return described(entry.cls)
    except Exception:  # annotations are code; `check` says what is wrong where the part is used
        return {"description": entry.summary}


def _rule(use: str, options: JsonSchema, words: Iterable[str]) -> JsonSchema:
    condition = {"type": "object", "properties": {"use": {"const": use}}, "required": ["use"]}
    elsewhere = dict.fromkeys(("use", *words, "defaults"), True)
    return {"if": condition, "then": {**options, "properties": {**elsewhere, **options["properties"]}}}


def _nested(groups: Groups) -> JsonSchema:
    """Pipelines used as stages, which take no options."""
    return {f"{NESTED}{name}": _optionless(line) for name, line in sorted(_comments(groups, "pipeline").items())}


def _sample(groups: Groups) -> JsonSchema:
    return {SAMPLE: _optionless(_comments(groups, "input").get("sample", ""))}


def _optionless(line: str) -> JsonSchema:
    return {"description": line, "type": "object", "properties": {}, "additionalProperties": False}


def _comments(groups: Groups, name: str) -> Mapping[str, str]:
    return groups[name].comments if name in groups else {}


def _part(described: JsonSchema) -> JsonSchema:
    """What one file may give in part: nothing is required, and `defaults` is for whoever refers to it to judge."""
    schema = _partial(described)
    return {**schema, "properties": {"defaults": True, **schema["properties"]}}


def _partial(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_partial(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _partial(value) for key, value in schema.items() if key != "required" or isinstance(value, dict)}


def _below(part: str) -> JsonSchema:
    """A part inside a file, where `defaults` is a key like any other."""
    refused = _without(["defaults"], "'defaults' stands at the top of a file, and nowhere else.")
    return {"allOf": [{"$ref": f"#/$defs/{part}"}, refused]}


def _without(keys: Iterable[str], reason: str) -> JsonSchema:
    """Keys that must not be there; editors show the reason."""
    return {"properties": dict.fromkeys(keys, False), "errorMessage": reason}


def _file(place: tuple[str, ...], own: Iterable[str], choice: JsonSchema) -> JsonSchema:
    """A file whose values go to `place`, and which may build on others of its own group by their mere name."""
    table = TABLES.get(place[0]) if len(place) == 2 else None
    part = PLACES.get(place, table)
    texts = {"anyOf": [{"$ref": "#/$defs/Whole"}, *([{"enum": sorted(own)}] if own else [])]}
    items = {"if": {"type": "object"}, "then": choice, "else": texts}
    about = "What this file builds on, in order: later values win. `_self_` is the file itself."
    defaults = {"description": about, "type": "array", "items": items}
    return {
        "type": "object",
        "allOf": [{"$ref": f"#/$defs/{part}"}] if part else [],
        "properties": {"defaults": defaults},
    }


def _choice(groups: Groups, prefixes: Iterable[str]) -> JsonSchema:
    """One choice: a mapping of one group to one name."""
    refs = {name: {"$ref": f"#/$defs/{name}.choice"} for name in groups}
    longer = {rf"^override /{re.escape(name)}@_global_\.": ref for name, ref in refs.items()}
    return {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {f"{prefix}{name}": ref for name, ref in refs.items() for prefix in prefixes},
        "patternProperties": {r"^(override )?/?hydra/": True, "^optional /": True, **longer},
        "additionalProperties": False,
    }


def _names(group: Group) -> JsonSchema:
    names: dict[str | None, str] = dict(sorted(group.comments.items()))
    names |= {None: "Nothing."} if group.name in OPTIONAL else {}
    named = {"enum": list(names), "enumDescriptions": list(names.values())}
    return {"anyOf": [named, reference(())]}


def _whole_files(groups: Groups) -> Iterator[str]:
    """Every file by its full name; `/shipped/…` names one that a project's file stands before."""
    shipped = Layer(SHIPPED, shipped_root())
    names = [f"{name}/{choice}" for name, group in groups.items() for choice in sorted(group.comments)]
    yield from (f"/{name}" for name in names)
    yield from (f"/{SHIPPED}/{name}" for name in [PRIMARY, *names] if shipped.file(name))
