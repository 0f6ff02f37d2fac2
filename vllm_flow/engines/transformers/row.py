"""What is in flight: tokens that are being read for a request, and rows, answers in the making to their last token."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from vllm_flow.core.errors import FlowError
from vllm_flow.core.likelihoods import TokenLikelihood
from vllm_flow.core.moving import Signal
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Course
from vllm_flow.core.values import Finish, InForce, Request, Token, Usage
from vllm_flow.engines.shaping import Shaping
from vllm_flow.engines.transformers.history import History
from vllm_flow.engines.transformers.loaded import Laid, Loaded, Span
from vllm_flow.engines.transformers.prefix import Node
from vllm_flow.engines.transformers.slots import Sequence
from vllm_flow.engines.transformers.text import Saying

if TYPE_CHECKING:
    from vllm_flow.engines.transformers.senses.shown import Shown

R = TypeVar("R")
T = TypeVar("T")


@dataclass(eq=False)
class Job(Generic[R, T]):
    """One request, and the way back to the event loop that waits for what it is given."""

    request: R
    loop: asyncio.AbstractEventLoop
    arrived: asyncio.Queue[T | FlowError] = field(default_factory=asyncio.Queue)
    cancelled: bool = False

    async def next(self) -> T:
        """What comes next for it. Raises FlowError when nothing more will, and why."""
        item = await self.arrived.get()
        if isinstance(item, FlowError):
            raise item
        return item


class Reading:
    """Tokens of one request that are read piece by piece. It owns its place in the KV cache."""

    every = False
    """Whether the logits after every token from `first` on are needed, and not only those after the last."""
    sequence: Sequence

    def __init__(self, job: Job[Any, Any], tokens: list[int], first: int) -> None:
        self.job = job
        self.tokens = tokens
        self.first = first
        """The first token after which logits are needed, from 0."""
        self.longest = len(tokens)
        """How many tokens may come to be in the KV cache."""
        self.node: Node
        """The last piece that the prefix cache knows."""
        self.cached_tokens = 0
        self.reuse_stopped_at: int | None = None
        self.laid: Laid | None = None
        """The adapter that it is read with."""
        self.shown: Shown | None = None
        """The media among its tokens."""

    def begin(self, sequence: Sequence, root: Node) -> None:
        self.sequence, self.node = sequence, root
        sequence.shown = self.shown

    def keys(self, tokens: Many[int], start: int) -> tuple[Hashable, ...]:
        """What the prefix cache knows some of its tokens by. start: the place of the first of them."""
        return tuple(tokens) if self.shown is None else self.shown.keys(start, tokens)

    @property
    def read(self) -> bool:
        """Whether that is done."""
        return self.sequence.length == len(self.tokens)

    def piece(self, size: int | None, most: int = 1) -> Span:
        """What is to be read next: up to a multiple of `size` tokens, and at most so many pieces.

        Where the logits after every token are needed it is one piece.

        Without a size, of a network that gives the logits of one token at a time: all but what needs its own.
        """
        start = self.sequence.length
        if size is None:
            end = max(start, self.first) + 1
        else:
            below = start - start % size
            end = below + size * most
            if self.every:
                end = max(below + size, min(end, self.first - self.first % size))
        end = min(len(self.tokens), end)
        return Span(self.sequence, tuple(self.tokens[start:end]), self.every and size is not None and end > self.first)


class Row(Reading):
    """One answer: its prompt is read, and then it grows token by token."""

    job: Job[Request, Token]

    def __init__(self, job: Job[Request, Token], prompt: list[int], loaded: Loaded) -> None:
        super().__init__(job, prompt, len(prompt) - 1)
        self.output: list[int] = []
        self.course = Course(job.request.schedule)
        self.heard: Mapping[Signal, float] = {}
        """What is known of the token drawn before, if the schedule needs it."""
        self.limits = job.request.schedule.at(0)
        """What ends the answer, as it stands at its beginning: see Schedule."""
        self.longest = len(prompt) + self.limits.max_tokens
        self.history = History(prompt, self.output, loaded.vocabulary, self.limits)
        self.history.understand(self.limits)
        self.shaping: Shaping | None = None if job.request.shape is None else loaded.shapes.begin(job.request.shape)
        self._saying = Saying(loaded.decode, self.limits, loaded.end_ids)

    def asked(self, signals: Mapping[Signal, float]) -> Sampling:
        """What is in force at the next token, whose shape is looked at.

        Raises EngineError where a schedule or a shape fails, or means nothing here.
        """
        if self.shaping is not None:
            self.shaping.look()
        now = self.course.next(len(self.output), self.output, signals)
        self.history.understand(now)
        return now

    def next_token(self) -> Span:
        """The newest token, which is not in the cache yet."""
        return Span(self.sequence, self.output[-1:])

    def take(self, token_id: int, likely: tuple[float, TokenLikelihood] | None) -> Token:
        """Go on with this token; `likely` is its raw log-probability and likelihood, if they were asked for."""
        logprob, likelihood = likely or (None, None)
        self.output.append(token_id)
        moved = InForce(self.course.values, self.course.signals) if self.course.values else None
        if self.shaping is not None:
            self.shaping.take(token_id)
        said, reason = self._saying.take(token_id, self.shaping is not None and self.shaping.over)
        if reason is None:
            return Token(token_id, said, logprob, None, likelihood, moved)
        usage = Usage(len(self.tokens), len(self.output))
        finish = Finish(reason, usage, self.cached_tokens, self.reuse_stopped_at, tuple(self.tokens))
        return Token(token_id, said, logprob, finish, likelihood, moved)
