"""What a part says of itself: options and ports, read from its class and never written twice.

The text below a field is where an author explains an option. Python forgets it, so it is read from the source.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from vllm_flow.core import registry
from vllm_flow.core.errors import told
from vllm_flow.core.metric_ports import ports_for
from vllm_flow.core.options import by_key, schema_of
from vllm_flow.core.phrases import JsonSchema, takes
from vllm_flow.core.ports import type_name
from vllm_flow.core.registry import Entry, Registry
from vllm_flow.core.tool_schema import signature_of


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


@dataclass(frozen=True, slots=True)
class Part:
    """A registered class in words."""

    name: str
    kind: str
    """`stage`, `resource`, `input`, `metric`, `schedule` or `tool`."""
    summary: str
    details: str
    """The docstring below its first line."""
    options: tuple[Option, ...] = ()
    reads: Mapping[str, str] = field(default_factory=dict)
    """Parameter of `run`, or of `score`, to its type; of a schedule, the signals that it follows; of a tool, arguments
    and resources."""
    optional: tuple[str, ...] = ()
    """Those parameters that need no value."""
    makes: str = ""
    """`None` for a stage that is kept for its effect."""
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
        if kind is registry.schedule:
            needs = getattr(entry.cls, "needs", entry.needs)
            signals = () if isinstance(needs, property) else sorted(needs)  # of one made of others: what those need
            return dataclasses.replace(part, reads=dict.fromkeys(signals, "a signal"), makes="a number")
        if kind is registry.tool:
            return dataclasses.replace(part, **_of_tool(entry))
        ports = ports_for(kind, entry.cls)
    except Exception as error:  # the class is somebody else's, its annotations and factories too
        return dataclasses.replace(part, problem=told(error))
    reads = {} if kind is registry.resource else {name: type_name(port.type) for name, port in ports.inputs.items()}
    optional = tuple(name for name in reads if not ports.inputs[name].required)
    return dataclasses.replace(part, reads=reads, optional=optional, makes=type_name(ports.output))


def _of_tool(entry: Entry) -> dict[str, Any]:
    signature = signature_of(entry.name, entry.cls)
    arguments = signature.spec.parameters
    reads = {name: takes(one) for name, one in arguments["properties"].items()}
    optional = tuple(name for name in reads if name not in arguments["required"])
    about = signature.spec.description.removeprefix(entry.summary).strip()
    resources = dict.fromkeys(signature.resources, "a resource")
    return {"reads": reads | resources, "optional": optional, "makes": "a text for the model", "details": about}


def options_of(cls: type) -> tuple[Option, ...]:
    """In their declared order. Raises TypeError or NameError when a type cannot be read."""
    schema, docs = schema_of(cls), field_docs(cls)
    found = []
    for key, one in by_key(cls).items():
        if one.init:
            below = schema["properties"][key]
            required = key in schema["required"]
            found.append(Option(key, takes(below), required, default_of(one), docs.get(one.name, ""), below))
    return tuple(found)


def default_of(one: dataclasses.Field[Any]) -> Any:
    """A field's default as YAML would have it; None where there is none."""
    if one.default_factory is not dataclasses.MISSING:
        return _plain(one.default_factory())
    return None if one.default is dataclasses.MISSING else _plain(one.default)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


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


def paragraphs(text: str) -> str:
    """Lines broken for the source put together again, but for indented ones: whoever shows them breaks them anew."""
    return re.sub(r"(?<!\n)\n(?!\s)", " ", text)
