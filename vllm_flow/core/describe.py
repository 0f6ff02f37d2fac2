"""What a part says of itself: the documentation of its options, read from its source and never written twice.

The text below a field is where an author explains an option; Python forgets it, so it is read from the source.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from functools import cache


def field_docs(cls: type) -> dict[str, str]:
    """Field name to the text written below it, inherited fields included; {} when the source cannot be had."""
    docs: dict[str, str] = {}
    for ancestor in reversed(cls.__mro__):
        if dataclasses.is_dataclass(ancestor):
            own = _own_docs(ancestor)
            for name in vars(ancestor).get("__annotations__", {}):
                docs.pop(name, None)  # a field declared anew is explained anew, or not at all
            docs |= own
    return {field.name: docs[field.name] for field in dataclasses.fields(cls) if field.name in docs}


@cache
def _own_docs(cls: type) -> dict[str, str]:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):  # typed in at a prompt, or compiled without its source
        return {}
    if not isinstance(body, ast.ClassDef):
        return {}
    docs = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = _literal(below)
            if text is not None:
                docs[field.target.id] = inspect.cleandoc(text)
    return docs


def _literal(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return None
