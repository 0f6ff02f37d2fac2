"""What became of a turn: a value, or why it has none. A failure is data, and raised only where an answer is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from vllm_flow.core.errors import FlowError
from vllm_flow.core.values import Turn


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a turn has no answer, as data."""

    node: str
    """The node that failed, or empty when the turn failed outside the graph."""
    kind: str
    """The exception's class."""
    message: str


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one turn: a value or a failure, never both."""

    turn: Turn
    """With its number set."""
    value: Any = None
    """The output node's value; None when `failure` is set or the output's `when` was false."""
    failure: Failure | None = None
    stored: bool = field(default=False)
    """True when the turn had been answered before and the stored reply is served."""

    @property
    def text(self) -> str:
        """What the value says: its own `text` if it has one. Raises TurnFailed when there is a failure instead."""
        if self.failure is not None:
            raise TurnFailed(self)
        return "" if self.value is None else str(getattr(self.value, "text", self.value))


class TurnFailed(FlowError):
    """Raised where an answer is wanted and the turn has none; carries its result."""

    def __init__(self, result: Result) -> None:
        turn, problem = result.turn, result.failure.message if result.failure else "it has not failed."
        super().__init__(problem if turn.number is None else f"turn {turn.number} of {turn.conversation}: {problem}")
        self.result = result
