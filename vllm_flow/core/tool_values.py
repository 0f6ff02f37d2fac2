"""Tools as data: what the model is told of a function, how it calls one, and what it is told then.

A call that failed is a result like any other: the model reads what went wrong, and the record says that it did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A function as it is described to the model."""

    name: str
    description: str
    parameters: Mapping[str, Any] = field(hash=False)
    """A JSON Schema (draft 2020-12) of an object: the arguments by name."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The part of an assistant's message that calls a function."""

    name: str
    arguments: Mapping[str, Any] = field(hash=False)
    """JSON values by name, as the model gave them: whether they fit is for whoever calls to say."""
    id: str = ""
    """What its result is to name; empty where the order says whose it is."""

    @property
    def text(self) -> str:
        """Nothing: it is no written part."""
        return ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The part of a tool's message: what the model reads of one call."""

    name: str
    text: str
    id: str = ""
    """That of the call."""
    error: str = ""
    """The kind of what went wrong, such as `TimeoutError`; empty when nothing did. `text` says it in words."""
    say: str = ""
    """What the user is to be told instead of an answer: a question that only the user can answer, or that there is
    nothing to answer from; empty where the model has what it needs, or may try again."""
