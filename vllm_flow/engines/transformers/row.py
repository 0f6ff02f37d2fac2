"""A row: one answer in the making, from its request to its last token."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from vllm_flow.core.errors import FlowError
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.values import Finish, FinishReason, Request, Token, TokenLikelihood, Usage
from vllm_flow.engines.transformers.history import History
from vllm_flow.engines.transformers.kv import Sequence
from vllm_flow.engines.transformers.load import Loaded
from vllm_flow.engines.transformers.network import Span
from vllm_flow.engines.transformers.prefix import Node
from vllm_flow.engines.transformers.text import TextStream


@dataclass(eq=False)
class Job:
    """One request, and the way back to the event loop that waits for its tokens."""

    request: Request
    loop: asyncio.AbstractEventLoop
    arrived: asyncio.Queue[Token | FlowError] = field(default_factory=asyncio.Queue)
    cancelled: bool = False


class Row:
    """One answer. It owns its place in the KV cache, and says what is to be read for it next."""

    def __init__(self, job: Job, prompt: list[int], sequence: Sequence, loaded: Loaded, root: Node) -> None:
        self.job = job
        self.prompt = prompt
        self.sequence = sequence
        self.node = root
        """The last piece of the prompt that the prefix cache knows."""
        self.output: list[int] = []
        self.cached_tokens = 0
        self.limits = job.request.schedule.at(0)
        """What ends the answer: `max_tokens`, `min_tokens` and `stop` as they stand at its beginning."""
        self.history = History(prompt, self.output, loaded.vocabulary, self.limits)
        self.history.understand(self.limits)
        self._text = TextStream(loaded.decode, self.limits.stop)

    def asked(self) -> Sampling:
        """What is in force at the next token. Raises EngineError where it means nothing to this model."""
        now = self.job.request.schedule.at(len(self.output))
        self.history.understand(now)
        return now

    def piece(self, size: int | None) -> tuple[int, ...]:
        """The next piece of the prompt, up to a multiple of `size` tokens; the whole rest without one."""
        start = self.sequence.length
        end = len(self.prompt) if size is None else min(len(self.prompt), start - start % size + size)
        return tuple(self.prompt[start:end])

    def next_token(self) -> Span:
        """The newest token, which is not in the cache yet."""
        return Span(self.sequence, self.output[-1:])

    def take(self, token_id: int, ends: frozenset[int], likely: tuple[float, TokenLikelihood] | None) -> Token:
        """Go on with this token; `likely` is its raw log-probability and likelihood, if they were asked for."""
        logprob, likelihood = likely or (None, None)
        may_end = not self.history.must_go_on
        self.output.append(token_id)
        ended = token_id in ends
        said = "" if ended else self._text.push(token_id, may_end)
        if not (ended or self._text.stopped or len(self.output) == self.limits.max_tokens):
            return Token(token_id, said, logprob, None, likelihood)
        rest = "" if self._text.stopped else self._text.flush(may_end)
        # The text held back may turn out to hold a whole stop string.
        reason: FinishReason = "stop" if ended or self._text.stopped else "length"
        usage = Usage(len(self.prompt), len(self.output))
        return Token(token_id, said + rest, logprob, Finish(reason, usage, self.cached_tokens), likelihood)
