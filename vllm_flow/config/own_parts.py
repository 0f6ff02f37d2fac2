"""Own parts: what the project's files say of all they register, read from their source, since listing runs no code."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vllm_flow.config.project import OwnFile, own_files

Defined = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class OwnPart:
    """What a file says of one thing that it registers."""

    name: str
    kind: str
    """`stage`, `resource`, `input`, `metric`, `schedule` or `tool`."""
    file: OwnFile
    summary: str
    """The first line of its docstring, or why the file is no Python."""
    options: Mapping[str, tuple[Any, ...]]
    """Field to the values that it can have, where its annotation lists them."""


def own_parts() -> list[OwnPart]:
    """What the project's files register, in the words of their source."""
    return [part for file in own_files() for part in _parts(file)]


def _parts(file: OwnFile) -> Iterator[OwnPart]:
    body, problem = [], ""
    try:
        body = ast.parse(file.path.read_bytes()).body
    except (SyntaxError, ValueError) as error:  # ValueError: a zero byte
        line = getattr(error, "lineno", None)
        problem = f"{file.label}.py is no Python: {getattr(error, 'msg', error)}{f' (line {line})' if line else ''}."
    made = {name: one for one in body if isinstance(one, Defined) for name in _names(one)}
    for name, kind in file.registers.items():
        part = made.get(name)
        summary = ((ast.get_docstring(part) if part else None) or problem).partition("\n")[0]
        yield OwnPart(name, kind, file, summary, dict(_options(part)) if isinstance(part, ast.ClassDef) else {})


def _names(cls: Defined) -> Iterator[Any]:
    """What its decorators are called with first, or else its own name: the names it is registered under."""
    for one in cls.decorator_list:
        if isinstance(one, ast.Name | ast.Attribute):
            yield cls.name
        elif isinstance(one, ast.Call) and one.args and isinstance(one.args[0], ast.Constant):
            yield one.args[0].value


def _options(cls: ast.ClassDef) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for one in cls.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            yield one.target.id, tuple(_values(one.annotation))


def _values(hint: ast.expr) -> Iterator[Any]:
    """Of `bool`, `Literal[…]`, and what is put together from them with `|`."""
    match hint:
        case ast.Name("bool"):
            yield from (True, False)
        case ast.Constant(None):
            yield None
        case ast.Subscript(ast.Name("Literal"), inner):
            items = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            yield from (one.value for one in items if isinstance(one, ast.Constant))
        case ast.BinOp(left, ast.BitOr(), right):
            yield from (*_values(left), *_values(right))
