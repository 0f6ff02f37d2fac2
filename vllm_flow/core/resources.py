"""Resources: what a stage may ask for besides values. Engines, stores and clocks, as contracts.

A resource has two lives. Its *options* are a frozen dataclass, built while the configuration is checked: light, no
file, no network. `open()` turns them into the *live* object, which the runner closes. Equal options are the same
resource, so an engine can be shared by everything that configures it alike.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

from vllm_flow.core.adapting import Adapted, AdaptRequest
from vllm_flow.core.ledger import Measured
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.messages import Message
from vllm_flow.core.values import Before, Completion, Prompt, Request, Token, Turn, nothing


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine honours; a configuration that asks for more is refused before anything loads."""

    sampling: frozenset[str]
    """Names of the sampling parameters it applies, each by itself exactly as `sampling.py` defines it."""
    logprobs: bool = False
    likelihoods: bool = False
    """Whether a TokenLikelihood comes with each log-probability, alternatives included."""
    score: bool = False
    """Whether it is a Scorer, too."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=nothing)
    """Lowest and highest value, of parameters that it takes only in part; of a list, how many entries."""
    sampler_order: tuple[str, ...] | None = None
    """The order in which it applies the parameters, by name; None: that of `sampling.py`. Empty: it is not known."""
    penalty_window: Literal["prompt and output", "output"] | int = "prompt and output"
    """Where `repetition_penalty` looks for tokens; a number: among so many of the newest."""
    seeded: Literal["exactly", "best effort", "no"] = "exactly"
    """exactly: equal seeds give the noise that every engine here draws with. best effort: mostly the same answer."""
    batch_invariant: bool = True
    """Whether an answer does not depend on the requests that are in flight beside it."""
    moves: bool = False
    """Whether parameters may change at every token of an answer."""
    signals: frozenset[str] = frozenset()
    """What it tells a schedule before each token, by the names in `moving.py`."""
    token_ids: bool = True
    """Whether it is told the ids of what the model writes. Without, a token it streams is a piece of text."""
    counts: bool = True
    """Whether it has `count`."""
    measures: bool = False
    """Whether it Measures as well: see measuring.py."""
    adapts: bool = False
    """Whether it Adapts as well, as it is configured."""
    adapters_last: bool = False
    """Whether what it learned is there after it has closed."""
    shapes: frozenset[str] = frozenset()
    """Which kinds of shapes it holds an answer to: schema, choices, regex."""
    tools: bool = False
    """Whether it reads `tools` of a prompt, and calls and results among the messages."""
    media: frozenset[str] = frozenset()
    """Which kinds of media it reads: image, audio. Of a model that is not here yet, those that it may turn out to."""


@runtime_checkable
class Engine(Protocol):
    """Turns requests into tokens. Many may be in flight, in several event loops when sessions share it."""

    def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        """Stream one answer. The last token, and only it, carries `finish`. Closing the generator cancels the request.

        Raises EngineError (ContextOverflow among them) for a request it cannot serve; other requests go on.
        """
        ...

    def count(self, prompt: Prompt) -> int:
        """How many tokens the model would read for this prompt, the template's own included.

        Raises EngineError when there is no tokenizer here: `Capabilities.counts` says so beforehand.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """What the record should know: model, weights, device, dtype. JSON values."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Scorer(Protocol):
    """An engine that also says how probable a given text is for its model; its capabilities say `score`."""

    async def score(self, prompt: Before, completion: str | tuple[int, ...], tenant: str = "") -> Scored:
        """The raw log-probability of each token of `completion`, as if the model had said it after the prompt.

        A text is cut into tokens by itself, with none that begins or ends it; ids are taken as they are, those of a
        prompt, too. Without a prompt, or with an empty one, the text stands by itself: see Scored.prompt_tokens. Raises
        EngineError (ContextOverflow among them) for what it cannot score, a text without tokens among it.
        """
        ...


@runtime_checkable
class Adapts(Protocol):
    """An engine that learns while it serves; its capabilities say `adapts`. Its weights stay as they are.

    It honours `adapter` of a Request. Nothing that was computed with one version is used with another.
    """

    async def adapt(self, request: AdaptRequest) -> Adapted:
        """Learn, and give the new version. Equal requests give equal versions, and are learned once.

        Requests in flight go on meanwhile, and no token of theirs is another. Raises EngineError for what it cannot
        learn, and for a version that is not there.
        """
        ...

    async def score(
        self, prompt: Before, completion: str | tuple[int, ...], tenant: str = "", adapter: str | None = None
    ) -> Scored:
        """As a Scorer, with an adapter."""
        ...


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What an engine will need, known without loading its weights."""

    count: Callable[[Prompt], int]
    """How many tokens the model reads for a prompt. Raises EngineError for one that it refuses."""
    weight_bytes: int
    kv_bytes_per_token: int
    context_length: int | None
    measure: Callable[[Prompt], Measured] | None = None
    """What the parts of a prompt take; None where that cannot be known."""


@runtime_checkable
class Foresees(Protocol):
    """Options of an engine that can say what it will need. May import what is heavy; loads no weights."""

    def foresee(self) -> Foreseen: ...


@runtime_checkable
class EngineOptions(Protocol):
    """The unopened engine, as a stage's `check` sees it."""

    def capabilities(self) -> Capabilities: ...

    def open(self) -> Engine: ...


@dataclass(frozen=True, slots=True)
class StoredTurn:
    """One turn as a store holds it."""

    turn: Turn
    """With its number set."""
    reply: Completion | None
    """None while unanswered. `finish_reason` is "interrupted" for a reply that was cut off."""


@runtime_checkable
class Store(Protocol):
    """Remembers conversations. A turn is committed in two steps, so that a killed process loses nothing acknowledged.

    begin → (commit | interrupt). `(conversation, number)` is unique; a stored reply is never replaced, except one that
    was interrupted. Threads may share a store. What people want of it beside this is an Archive (archive.py).
    """

    def next_number(self, conversation: str) -> int:
        """1 + the highest turn number of the conversation; 1 for a new one."""
        ...

    def turns(self, conversation: str) -> tuple[StoredTurn, ...]:
        """All turns by number; empty for a conversation it does not know."""
        ...

    def state(self, conversation: str) -> Mapping[str, Any]:
        """What the last commit left; empty for a new conversation."""
        ...

    def begin(self, turn: Turn) -> StoredTurn:
        """Commit the user's side of a numbered turn, and return what is stored of it.

        A second `begin` of an equal turn changes nothing and returns the reply if there is one. Raises TurnConflict
        when the number is taken by another message.
        """
        ...

    def commit(self, turn: Turn, reply: Completion, state: Mapping[str, Any]) -> None:
        """Store the reply and the conversation's new state in one transaction. Raises StoreError without `begin`."""
        ...

    def interrupt(self, turn: Turn, partial: Completion) -> None:
        """Store what had been said when the answer was cut off. Does nothing if the turn never began or is answered."""
        ...

    def undo(self, conversation: str) -> Message | None:
        """Take the last turn back and return the user's message; None when there is nothing to take back.

        Its number is free again, and the state is what it was before that turn.
        """
        ...

    def last_conversation(self) -> str | None:
        """The conversation that was written last."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """This moment, with its time zone."""
        ...
