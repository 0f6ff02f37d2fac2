"""What a part says of itself: options, ports and an example, all read from its class and never written twice.

The text below a field is where an author explains an option. Python forgets it, so it is read from the source. An
example is found by the types of the ports, as a build would check them, so that it cannot grow stale.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from vllm_flow.core import registry
from vllm_flow.core.errors import told
from vllm_flow.core.options import JsonSchema, _wanted, schema_of
from vllm_flow.core.ports import Ports, fits, many, ports_of, type_name
from vllm_flow.core.registry import Entry, Registry

SUCH_AS = re.compile(r"such as (?:`([^`]+)`|(\S*\w))")
DEEPEST = 2
"""How many stages an example puts in a row to make a value that is asked for."""


@dataclass(frozen=True, slots=True)
class Option:
    """One field of a class that YAML can set."""

    name: str
    takes: str
    """Type and range in words: `a number from 0 to 1`."""
    required: bool
    default: Any
    """As YAML would have it; None where there is none."""
    doc: str
    schema: JsonSchema = field(repr=False)

    @property
    def sample(self) -> Any:
        """A value that fits: the default, or what the text below the field gives as `such as …`, or the nearest."""
        if not self.required:
            return self.default
        named = SUCH_AS.search(self.doc)
        return named[1] or named[2] if named and self.schema.get("type") == "string" else sample_of(self)


@dataclass(frozen=True, slots=True)
class Part:
    """A registered class in words."""

    name: str
    kind: str
    """`stage`, `resource` or `input`."""
    summary: str
    details: str
    """The docstring below its first line."""
    options: tuple[Option, ...] = ()
    reads: Mapping[str, str] = field(default_factory=dict)
    """Parameter of `run` to its type."""
    optional: frozenset[str] = frozenset()
    """Those parameters that need no value."""
    makes: str = ""
    problem: str = ""
    """Why the rest could not be read; empty when all is well."""


def part_of(kind: Registry, entry: Entry) -> Part:
    """Raises nothing: a plugin whose options or ports cannot be read says so in `problem`."""
    summary, _, details = (inspect.getdoc(entry.cls) or "").partition("\n")
    part = Part(entry.name, kind.kind, summary, details.strip())
    try:
        part = dataclasses.replace(part, options=options_of(entry.cls))
        if kind is registry.source:
            return dataclasses.replace(part, makes="turns")
        ports = ports_of(entry.cls, kind.method)
    except Exception as error:  # the class is somebody else's, its annotations and factories too
        return dataclasses.replace(part, problem=told(error))
    if kind is registry.resource:
        return dataclasses.replace(part, makes=type_name(ports.output))
    reads = {name: type_name(port.type) for name, port in ports.inputs.items()}
    optional = frozenset(name for name, port in ports.inputs.items() if not port.required)
    return dataclasses.replace(part, reads=reads, optional=optional, makes=type_name(ports.output))


def options_of(cls: type) -> tuple[Option, ...]:
    """In their declared order. Raises TypeError or NameError when a type cannot be read."""
    schema, docs = schema_of(cls), field_docs(cls)
    found = []
    for one in dataclasses.fields(cls):
        if one.init:
            below = schema["properties"][one.name]
            required = one.name in schema["required"]
            found.append(Option(one.name, _wanted(below), required, _default(one), docs.get(one.name, ""), below))
    return tuple(found)


def _default(one: dataclasses.Field[Any]) -> Any:
    if one.default_factory is not dataclasses.MISSING:
        return _plain(one.default_factory())
    return None if one.default is dataclasses.MISSING else _plain(one.default)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def sample_of(option: Option) -> Any:
    """A value that the option's schema accepts."""
    return _sample(option.schema, option.name)


def _sample(schema: JsonSchema, name: str) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _sample(schema["anyOf"][0], name)
    match schema.get("type"):
        case "string":
            return name.upper()
        case "integer" | "number":
            return schema.get("minimum", schema.get("exclusiveMinimum", 0) + ("exclusiveMinimum" in schema))
        case "boolean":
            return False
        case "array":
            return []
        case "object":
            known = schema.get("properties", {})
            return {key: _sample(known[key], key) for key in schema.get("required", ())}
    return None


@dataclass
class Wired:
    """An example graph in the making: what has to be added to known values so that a stage gets all it asks for."""

    values: dict[str, Any]
    """Name to type of what there is already."""
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, entry: Entry, name: str = "", depth: int = DEEPEST, *, of_each: bool = False) -> str | None:
        """The name of the node added for `entry`, or None when something it asks for can be had from nowhere.

        `of_each` asks for a tuple of what the stage makes, so that it must be mapped over another tuple.
        """
        ports, renames, each = ports_of(entry.cls), {}, None
        for parameter, port in ports.inputs.items():
            source = self._source(parameter, many(port.type)) if of_each and each is None else None
            each = parameter if source else each
            source = source or self._source(parameter, port.type)
            if source is None and each is None and (source := self._source(parameter, many(port.type))):
                each = parameter
            if source is None and port.required and depth:
                source = self._made(parameter, port.type, depth - 1)
            if source is None and port.required:
                return None
            if source not in (None, parameter):
                renames[parameter] = source
        name = self._free(name or entry.name.rpartition("/")[2].replace("-", "_"))
        samples = {one.name: one.sample for one in options_of(entry.cls) if one.required}
        node = {"use": entry.name, "each": each, "from": renames, **samples}
        self.nodes[name] = {key: value for key, value in node.items() if value or key in samples}
        self.values[name] = _output(ports, each)
        return name

    def _source(self, parameter: str, wanted: Any) -> str | None:
        """A value that fits, that of the same name first."""
        order = sorted(self.values, key=lambda name: name != parameter)
        return next((name for name in order if fits(self.values[name], wanted)), None)

    def _made(self, parameter: str, wanted: Any, depth: int) -> str | None:
        """A value of this type from a resource or another stage."""
        for entry in registry.resource:
            if fits(ports_of(entry.cls, "open").output, wanted):
                samples = {one.name: one.sample for one in options_of(entry.cls) if one.required}
                self.resources[parameter] = {"use": entry.name, **samples}
                self.values[parameter] = wanted
                return parameter
        for entry in registry.stage:
            output = ports_of(entry.cls).output
            for of_each in (False, True):
                if fits(many(output) if of_each else output, wanted):
                    trial = Wired(dict(self.values), dict(self.nodes), dict(self.resources))
                    name = trial.add(entry, parameter, depth, of_each=of_each)
                    if name is not None and fits(trial.values[name], wanted):
                        self.values, self.nodes, self.resources = trial.values, trial.nodes, trial.resources
                        return name
        return None

    def _free(self, name: str) -> str:
        while name in self.values:
            name += "_"
        return name


def _output(ports: Ports, each: str | None) -> Any:
    if each is None or ports.output is types.NoneType:
        return ports.output
    return many(ports.output)


def field_docs(cls: type) -> dict[str, str]:
    """Field name to the text written below it, inherited fields included; {} when the source cannot be had."""
    docs: dict[str, str] = {}
    for ancestor in reversed(cls.__mro__):
        if dataclasses.is_dataclass(ancestor):
            for name in vars(ancestor).get("__annotations__", {}):
                docs.pop(name, None)  # a field declared anew is explained anew, or not at all
            docs |= _own_docs(ancestor)
    return {one.name: docs[one.name] for one in dataclasses.fields(cls) if one.name in docs}


@cache
def _own_docs(cls: type) -> dict[str, str]:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):  # typed in at a prompt, or compiled without its source
        return {}
    return dict(_documented(body)) if isinstance(body, ast.ClassDef) else {}


def _documented(body: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for one, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and isinstance(below, ast.Expr):
            text = below.value.value if isinstance(below.value, ast.Constant) else None
            if isinstance(text, str):
                yield one.target.id, inspect.cleandoc(text)
