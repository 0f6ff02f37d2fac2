"""What the model is told of a function, made from its signature and its docstring, which are its only declaration.

A parameter whose type is a Protocol, or a Library, is no argument: the function asks for a resource, or for the graph's
documents, by their name, as a stage does. What an argument is stands below `Args:` in the docstring, a line
`name: text` for each, as Google's style has it.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from vllm_flow.core.library import Library
from vllm_flow.core.option_checks import schema_problems
from vllm_flow.core.options import OptionProblem, converted, schema_for, written
from vllm_flow.core.phrases import JsonSchema
from vllm_flow.core.ports import annotated
from vllm_flow.core.tool_values import ToolSpec

METHOD = "call"
ARGS = re.compile(r"^(Args|Arguments|Parameters):\s*$")
ARG = re.compile(r"^\s+(?P<name>\w+)\s*(?:\([^)]*\))?:\s*(?P<text>.*)$")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function asks for, read once."""

    spec: ToolSpec
    hints: Mapping[str, Any]
    """Argument to its annotation."""
    resources: tuple[str, ...]
    """What it is given beside its arguments, by name."""

    def problems(self, arguments: Mapping[str, Any]) -> list[OptionProblem]:
        """All that does not fit."""
        return schema_problems(dict(self.spec.parameters), arguments)

    def read(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments without problems, as the function's annotations have them: tuples, dataclasses."""
        return {name: _read(self.hints[name], value) for name, value in arguments.items()}


@dataclass(slots=True)
class _Described:
    """A docstring in two: what the function does, and what its arguments are."""

    about: list[str] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)


def signature_of(name: str, cls: type) -> Signature:
    """Of a tool's class, or one that stands for a function. Raises TypeError or NameError when it cannot be read."""
    hints = typing.get_type_hints(getattr(cls, METHOD), include_extras=True)
    ports = annotated(cls, METHOD)  # says what is wrong with a parameter
    resources = tuple(one for one, port in ports.inputs.items() if _is_given(port.type))
    described = _described(inspect.getdoc(cls) or "")
    described.arguments |= _described(inspect.getdoc(getattr(cls, METHOD)) or "").arguments
    parameters = inspect.signature(getattr(cls, METHOD)).parameters
    taken = {one: hints[one] for one in ports.inputs if one not in resources}
    properties: dict[str, JsonSchema] = {}
    for argument, hint in taken.items():
        try:
            schema = dict(_schema(hint))
        except TypeError as error:
            raise TypeError(f"the argument '{argument}': {error}") from None
        if text := described.arguments.get(argument):
            schema["description"] = text
        if (default := parameters[argument].default) is not inspect.Parameter.empty:
            schema["default"] = written(default)
        properties[argument] = schema
    required = [one for one in taken if ports.inputs[one].required]
    whole = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return Signature(ToolSpec(name, " ".join(described.about), whole), taken, resources)


def _is_given(hint: Any) -> bool:
    options = typing.get_args(hint) or (hint,)
    return any(Protocol in getattr(one, "__bases__", ()) or one is Library for one in options)


def _schema(hint: Any) -> JsonSchema:
    """A list is an array, too: of an argument nobody asks whether it can be hashed."""
    if typing.get_origin(hint) is list:
        return {"type": "array", "items": _schema(typing.get_args(hint)[0])}
    return schema_for(hint)


def _read(hint: Any, value: Any) -> Any:
    if typing.get_origin(hint) is list:
        return [_read(typing.get_args(hint)[0], item) for item in value]
    return converted(hint, value)


def _described(doc: str) -> _Described:
    found = _Described()
    lines = iter(doc.splitlines())
    for line in lines:
        if ARGS.match(line):
            found.arguments = dict(_arguments(lines))
            break
        if line.strip():
            found.about.append(line.strip())
    return found


def _arguments(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Up to the first line that is not indented; a deeper line goes on with the argument above."""
    name, text, depth = "", "", 0
    for line in lines:
        if line.strip() and not line.startswith(" "):
            break
        indent = len(line) - len(line.lstrip())
        one = ARG.match(line)
        if one and (not name or indent <= depth):
            if name:
                yield name, text
            name, text, depth = one["name"], one["text"].strip(), indent
        elif line.strip():
            text = f"{text} {line.strip()}".strip()
    if name:
        yield name, text
