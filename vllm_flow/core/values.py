"""The values that travel between stages: frozen, torch-free, nothing but data.

Sampling parameters live in `sampling.py`; a prompt stays messages with parts, never rendered text, because only the
engine knows its model's template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from vllm_flow.core.errors import EngineError
from vllm_flow.core.ledger import Ledger
from vllm_flow.core.likelihoods import TokenLikelihood
from vllm_flow.core.messages import Message
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.segments import HISTORY, LeftOut, Segment, Share
from vllm_flow.core.shape import Parsed, Shape
from vllm_flow.core.tool_values import ToolSpec

FinishReason = Literal["stop", "length", "interrupted"]
NOTHING: Mapping[str, Any] = MappingProxyType({})


def nothing() -> Mapping[str, Any]:
    """The empty mapping, as a field's default factory: before Python 3.12 a dataclass refuses it as a default."""
    return NOTHING


@dataclass(frozen=True, slots=True)
class Turn:
    """What the user sent, once: the unit of work that flows through a graph."""

    conversation: str
    message: Message
    history: tuple[Message, ...] = ()
    """Messages that came with the turn and stand before it; they follow what the store already holds."""
    number: int | None = None
    """1, 2, … in its conversation. None: the store counts. Together with `conversation` the idempotency key."""
    sample: int = 0
    """Which independent answer to the same turn: 0 first, 1 for a retry. Part of the seed."""
    index: int = 0
    """Position in the input, from 0; results are put back in this order."""
    reference: Any = field(default=None, hash=False)
    """What a metric compares the answer with, a JSON value. No model sees it and no store keeps it."""
    tenant: str = ""
    """Whose it is, where several share an engine: what it remembers of one's prompts never serves another's.

    A store knows a conversation by its name alone, so tenants whose turns it keeps need names of their own.
    """
    feedback: float | None = None
    """How the answer before this turn was liked, from -1 to 1; None when nobody said. Schedules may follow it."""
    progress: float | None = None
    """How much of the task is done when this turn begins, from 0 to 1; None when nobody knows. For schedules."""
    remember: Mapping[str, str | None] = field(default_factory=nothing, hash=False)
    """Facts by name that are to be known from this turn on, where the context keeps any; None: to be forgotten."""

    @property
    def text(self) -> str:
        return self.message.text


@dataclass(frozen=True, slots=True)
class BadRow:
    """An input row that cannot be read. It stands where its turn would; the other rows go on."""

    index: int
    """Position in the input, from 0, counted together with the turns."""
    row: str
    """Where it stands, such as `questions.jsonl:7`."""
    problem: str
    """What is wrong, and what would be right."""


@dataclass(frozen=True, slots=True)
class Context:
    """What is known when the turn begins: earlier messages, what else there is to say, the conversation's state."""

    messages: tuple[Message, ...] = ()
    state: Mapping[str, Any] = field(default_factory=nothing)
    """JSON values, committed together with the reply."""
    left_out: tuple[LeftOut, ...] = ()
    """What of the history a policy kept out of `messages`; shown to the user, never silent."""
    segments: tuple[Segment, ...] = ()
    """What the policy would have said beside the messages: a summary, facts, what it found in older ones."""
    share: Share = HISTORY
    """Of the messages, in the prompt."""

    @property
    def dropped(self) -> int:
        """How many messages a policy kept out."""
        return sum(one.count for one in self.left_out if one.what == "messages")


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is to read: messages with parts, history first."""

    messages: tuple[Message, ...]
    plain: bool = False
    """Whether the texts are read as they stand, a newline between them, without the model's chat template.

    Control tokens that they spell are then read as such, unless they stand `as_text`, and the token that begins a text
    is not put before one that begins with it already.
    """
    ledger: Ledger | None = field(default=None, compare=False)
    """What stands in it, and what does not; None from a fuser that keeps none. The engine does not look at it."""
    tools: tuple[ToolSpec, ...] = ()
    """Functions that the model may call. It does so in its answer, as its template has it."""
    as_text: bool = False
    """Whether nothing that a plain one spells is a control token; of others nothing is in any case."""

    @property
    def raw(self) -> bool:
        """Whether control tokens that its texts spell are read as such."""
        return self.plain and not self.as_text


Before = Prompt | tuple[int, ...] | None
"""What stands before a text that is scored: a prompt, or its token ids as they are, or nothing."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts, as the request determines them. None where the engine is not told."""

    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, slots=True)
class Completion:
    """What the model answered."""

    text: str
    token_ids: tuple[int, ...]
    """Generated ids, that of the end of sequence or stop token included; empty when the engine is told none."""
    finish_reason: FinishReason
    """stop: end of sequence, stop token or string; length: `max_tokens` reached; interrupted: cut off by the user."""
    usage: Usage
    logprobs: tuple[float, ...] | None = None
    """Natural log of each generated token's probability under the unmodified logits; None unless asked for."""
    likelihoods: tuple[TokenLikelihood, ...] | None = None
    """What comes with `logprobs` from an engine that knows it, one for each token."""
    text_ends: tuple[int, ...] | None = None
    """What comes with `logprobs`: for each token, how many characters of `text` it and those before it made."""
    parsed: Parsed | None = None
    """What it holds as data, where a shape was asked for; else None."""
    steps: tuple[Message, ...] = ()
    """What was said between the question and this answer: calls of tools, and their results."""

    @property
    def data(self) -> Any:
        """The value that it holds. Raises EngineError when it is not of its shape, or was asked for without one."""
        if self.parsed is None:
            what = "it was interrupted" if self.finish_reason == "interrupted" else "it was asked for in no shape"
            raise EngineError(f"the answer holds no data: {what}. Set schema, choices or regex where it is made.")
        if self.parsed.problem is not None:
            raise EngineError(self.parsed.problem)
        return self.parsed.value


@dataclass(frozen=True, slots=True)
class Score:
    """How good one candidate is; higher is better."""

    value: float


@dataclass(frozen=True, slots=True)
class Finish:
    """Carried by the last token of a request."""

    reason: FinishReason
    usage: Usage
    cached_tokens: int = 0
    """Prompt tokens whose KV cache entries were reused: a fact of the batch, not of the request."""
    reuse_stopped_at: int | None = None
    """With how many tokens the prompt begins as a prompt did that the engine remembers: there reuse had to stop.

    A whole prompt that was remembered never stopped: None, as from an engine that does not say. It is no less than
    `cached_tokens`, which counts whole pieces. Less than the prompt of the turn before had, a template has rewritten
    the history.
    """
    prompt_ids: tuple[int, ...] | None = None
    """The prompt as the model read it; None from an engine that is not told."""


@dataclass(frozen=True, slots=True)
class InForce:
    """Of a token whose sampling parameters move: the values that it was drawn with."""

    values: Mapping[str, float]
    """By parameter; those that do not move within the answer are not among them."""
    signals: Mapping[str, float] = field(default_factory=nothing)
    """What the schedules were told before it was drawn, by the signal's name."""


@dataclass(frozen=True, slots=True)
class Token:
    """One generated token, as an engine streams it."""

    id: int | None
    """None from an engine that is told texts alone, and for a finish that comes after the last token, by itself."""
    text: str
    """What this token adds to the visible text; empty while a character or a possible stop string is incomplete."""
    logprob: float | None = None
    finish: Finish | None = None
    """Set on the last token, and only there. Its `text` then flushes whatever was held back."""
    likelihood: TokenLikelihood | None = None
    moved: InForce | None = None
    """Set on every token of an answer whose schedule moves within it."""


@dataclass(frozen=True, slots=True)
class Request:
    """One answer asked of an engine."""

    prompt: Prompt
    schedule: Schedule
    seed: int = 0
    """64 bits. The runner derives it (see seeds.py); a stage never sets it."""
    sample: int = 0
    """Which of several answers to one prompt; the runner derives another seed for each."""
    logprobs: bool = False
    """Whether each token is to come with its log-probability, and its likelihood where the engine knows that."""
    top_logprobs: int = 0
    """How many alternatives each likelihood lists; counts only with `logprobs`."""
    tenant: str = ""
    """Of the turn; the runner sets it. No answer tells, by its time or its `cached_tokens`, what another has asked."""
    adapter: str | None = None
    """The version of what the conversation taught the model, of an engine that Adapts; None: the model as it is."""
    shape: Shape | None = None
    """Which texts the answer may be; None: any."""
