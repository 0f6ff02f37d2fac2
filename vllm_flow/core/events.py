"""Events: what a run tells its observers while it happens. The screen, the record and a server are observers alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vllm_flow.core.ledger import Ledger
from vllm_flow.core.results import Result
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.tool_values import ToolCall, ToolResult
from vllm_flow.core.values import Completion, FinishReason, Request, Token, Turn, Usage


@dataclass(frozen=True, slots=True)
class Opened:
    """The resources are open: what each says of itself, by name."""

    resources: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Reconfigured:
    """The runner goes on with another spec; what stayed the same stays open."""

    change: str
    """The override, as it was given."""
    spec: RunSpec


@dataclass(frozen=True, slots=True)
class TurnStarted:
    turn: Turn
    """With its number set."""


@dataclass(frozen=True, slots=True)
class TokenMade:
    """One token of a node's answer. Users see those that are `live`: made by the output node itself, for one answer."""

    turn: Turn
    node: str
    sample: int
    token: Token
    live: bool


@dataclass(frozen=True, slots=True)
class Inferred:
    """One request to an engine has ended. Times in seconds, from the moment the request was made."""

    turn: Turn
    node: str
    sample: int
    reason: FinishReason
    usage: Usage
    cached_tokens: int
    ttft_s: float
    """Time to first token."""
    seconds: float
    reuse_stopped_at: int | None = None
    """See Finish."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A store that ends with the process was given a reply to keep."""

    store: str
    """The resource's name."""
    turn: Turn
    reply: Completion
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Called:
    """A request to an engine is over: it ended, it failed, or nobody wanted more of it."""

    turn: Turn
    node: str
    resource: str
    request: Request
    """With its seed."""
    tokens: Sequence[Token]
    """As far as it came; the last one has a finish if the answer is complete."""
    live: bool
    ledger: Ledger
    """Of the prompt."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a resource other than a generating engine told a node."""

    turn: Turn
    node: str
    resource: str
    method: str
    value: Any


@dataclass(frozen=True, slots=True)
class ToolUsed:
    """A tool is called; and again, with its result, when it has answered."""

    turn: Turn
    node: str
    call: ToolCall
    result: ToolResult | None


@dataclass(frozen=True, slots=True)
class NodeDone:
    turn: Turn
    node: str
    value: Any


@dataclass(frozen=True, slots=True)
class TurnDone:
    result: Result
    seconds: float


Made = TokenMade | Inferred | Called | Heard | ToolUsed | NodeDone
Event = Opened | Reconfigured | TurnStarted | Made | Committed | TurnDone
Observer = Callable[[Event], None]
