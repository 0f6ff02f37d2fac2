"""Tools: functions that the model may call, as a resource, and what such a function may ask for beside its arguments.

A tool is told what to do by a model that is told what to say by anybody, so nothing it raises ends a turn: a call that
fails is a result that says so. What a call gave is recorded as a whole, with all that the tool had heard from a clock
or the web on the way; so a tool that is run is handed these as they are, and not bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from vllm_flow.core.tool_values import ToolCall, ToolResult, ToolSpec

UNKNOWN, ARGUMENTS, UNREADABLE = "UnknownTool", "BadArguments", "UnreadableCall"
MISTAKES = frozenset({UNKNOWN, ARGUMENTS, UNREADABLE})
"""Errors of a result that the model made and may mend: nothing was run."""


@runtime_checkable
class Tools(Protocol):
    """Functions by name."""

    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told of them, in the order in which they were chosen."""
        ...

    async def call(self, call: ToolCall, given: Mapping[str, Any]) -> ToolResult:
        """Run one. `given` are live resources by name, for a tool that asks for them by naming a parameter so.

        Raises nothing for what a model can do wrong, and nothing that the function raises.
        """
        ...


@runtime_checkable
class ToolOptions(Protocol):
    """The unopened tools, as a stage's `check` sees them."""

    def needs(self) -> Mapping[str, tuple[str, ...]]:
        """Resource to the tools that ask for it."""
        ...

    def open(self) -> Tools: ...
