"""The loop: continuous batching over all answers in the making, one token for each at every step.

Admit what waits, read one token of every row that decodes and some pieces of prompts, draw, hand out. Rows come and go
between two steps; what one of them computes does not depend on the others.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vllm_flow.core.errors import EngineError, FlowError
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.values import Token, TokenLikelihood
from vllm_flow.engines.transformers.failures import check_left, check_numbers, check_room, told
from vllm_flow.engines.transformers.likelihood import likelihoods
from vllm_flow.engines.transformers.load import Loaded
from vllm_flow.engines.transformers.network import Span
from vllm_flow.engines.transformers.penalties import adjusted
from vllm_flow.engines.transformers.prefix import Node, PrefixCache
from vllm_flow.engines.transformers.row import Job, Row
from vllm_flow.engines.transformers.sampler import choose, processed

log = logging.getLogger("vllm_flow")
Delivery = tuple[Job, Token | FlowError]


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is in flight at once."""

    rows: int = 256
    prompt_tokens: int = 512
    """Of prompts, read in one step: more would make the rows that decode wait longer for their next token."""
    kv_bytes: int = 2 << 30
    """Keys and values of all answers in the making, at their longest."""
    prefix_bytes: int = 1 << 29
    """Keys and values that are kept for prompts to come."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The logits a row's next token is to be drawn from, float32 [vocab]."""

    row: Row
    logits: Tensor


class Loop:
    """Everything that runs in the engine's thread."""

    def __init__(self, loaded: Loaded, limits: Limits) -> None:
        self._loaded = loaded
        self._network = loaded.network
        self._limits = limits
        self._waiting: deque[Job] = deque()
        self._reading: list[Row] = []
        """Rows whose prompts are not read to the end yet, in the order in which they came."""
        self._decoding: list[Row] = []
        self._prefixes = PrefixCache(limits.prefix_bytes)
        self._deliveries: list[Delivery] = []
        self._spell = lru_cache(1 << 16)(lambda token_id: str(loaded.decode([token_id])))
        """What one token says by itself: looked up often, and slow."""

    @property
    def idle(self) -> bool:
        return not (self._waiting or self._reading or self._decoding)

    def add(self, job: Job) -> None:
        self._waiting.append(job)

    @torch.inference_mode()
    def step(self) -> list[Delivery]:
        """One round. Returns the tokens it made, and the errors of the answers that cannot go on."""
        self._drop_cancelled()
        self._admit()
        spans = {row: row.next_token() for row in self._decoding}
        drawn, pieces = self._pieces()
        drawn += self._read({**spans, **pieces})
        self._draw(drawn)
        return self._handed_over()

    def fail_all(self, why: str) -> list[Delivery]:
        """End everything in flight. Returns that, and what a step that failed had made before."""
        jobs = [*self._waiting, *(row.job for row in (*self._reading, *self._decoding))]
        for row in (*self._reading, *self._decoding):
            self._network.leave(row.sequence)
        self._waiting.clear()
        self._reading, self._decoding = [], []
        return [*self._handed_over(), *((job, EngineError(why)) for job in jobs)]

    def _handed_over(self) -> list[Delivery]:
        deliveries, self._deliveries = self._deliveries, []
        return deliveries

    def _drop_cancelled(self) -> None:
        for row in [row for row in (*self._reading, *self._decoding) if row.job.cancelled]:
            self._retire(row)

    def _admit(self) -> None:
        """In the order in which they came, as long as there is room for the longest answer each may become."""
        while self._waiting and len(self._reading) + len(self._decoding) < self._limits.rows:
            job = self._waiting[0]
            if not job.cancelled and not self._admitted(job):
                return
            self._waiting.popleft()

    def _admitted(self, job: Job) -> bool:
        """False when there is no room now. A request that can never be served is done with."""
        try:
            prompt = self._loaded.renderer.ids(job.request.prompt)
            wanted = job.request.schedule.at(0).max_tokens
            check_room(len(prompt), wanted, self._loaded.context_length)
            if not self._has_room(len(prompt) + wanted):
                return False
            sequence = self._network.sequence(len(prompt))
            self._reading.append(Row(job, prompt, sequence, self._loaded, self._prefixes.root))
        except Exception as error:
            self._deliveries.append((job, told(error)))
        return True

    def _has_room(self, tokens: int) -> bool:
        rows = (*self._reading, *self._decoding)
        taken = sum(len(row.prompt) + row.limits.max_tokens for row in rows)
        return not rows or (taken + tokens) * self._network.bytes_per_token <= self._limits.kv_bytes

    def _pieces(self) -> tuple[list[Drawn], dict[Row, Span]]:
        """What is to be read of prompts; and the rows for which the prefix cache knows what follows theirs.

        A piece that another row reads in this step is left for the next, where the prefix cache has it.
        """
        drawn: list[Drawn] = []
        spans: dict[Row, Span] = {}
        claimed: set[tuple[Node, tuple[int, ...]]] = set()
        budget = self._limits.prompt_tokens
        for row in self._reading:
            if (logits := self._remembered(row)) is not None:
                drawn.append(Drawn(row, logits))
                continue
            piece = row.piece(self._network.chunk)
            if self._network.chunk is not None:
                if (row.node, piece) in claimed:
                    continue
                claimed.add((row.node, piece))
            if budget > 0:
                budget -= len(piece)
                spans[row] = Span(row.sequence, piece)
        return drawn, spans

    def _remembered(self, row: Row) -> Tensor | None:
        """Take over what the prefix cache knows of a row's prompt; the logits after it if that is all of it."""
        while self._network.chunk is not None:
            piece = row.piece(self._network.chunk)
            last = row.sequence.length + len(piece) == len(row.prompt)
            node = self._prefixes.find(row.node, piece, logits=last)
            if node is None:
                return None
            row.sequence.append(node.planes)
            row.cached_tokens += len(piece)
            row.node = node
            if last:
                return node.logits
        return None

    def _read(self, spans: dict[Row, Span]) -> list[Drawn]:
        """Read; the rows that can draw then, with their logits. A row that fails, fails alone."""
        drawn = []
        for row, logits in self._logits(spans):
            if row in self._decoding:
                drawn.append(Drawn(row, logits))
                continue
            last = row.sequence.length == len(row.prompt)
            if self._network.chunk is not None:
                piece = tuple(spans[row].tokens)
                planes = row.sequence.copied(row.sequence.length - len(piece))
                row.node = self._prefixes.add(row.node, piece, planes, logits.clone() if last else None)
            if last:
                drawn.append(Drawn(row, logits))
        return drawn

    def _logits(self, spans: dict[Row, Span]) -> Iterator[tuple[Row, Tensor]]:
        if self._network.chunk is None and len(spans) > 1:  # one after the other, and none twice
            for row, span in spans.items():
                yield from self._logits({row: span})
            return
        if not spans:
            return
        try:
            yield from zip(spans, self._network.read(list(spans.values())), strict=True)
        except Exception as error:
            if len(spans) == 1:
                self._fail(next(iter(spans)), error)
                return
            log.debug("a step of %s rows failed; each is tried alone", len(spans), exc_info=True)
            for row, span in spans.items():
                yield from self._logits({row: span})

    def _draw(self, drawn: list[Drawn]) -> None:
        """The next token of each, all drawn at once. What goes wrong with one of them is that one's alone."""
        ready: list[tuple[Drawn, Sampling]] = []
        for one in drawn:
            with self._alone(one.row):
                check_numbers(one.logits, len(one.row.output))
                ready.append((one, one.row.asked()))
        if not ready:
            return
        logits, rows = torch.stack([one.logits for one, _ in ready]), [one.row for one, _ in ready]
        seeds, indices = [row.job.request.seed for row in rows], [len(row.output) for row in rows]
        samplings = [how for _, how in ready]
        marked = adjusted(logits, samplings, [row.history for row in rows])
        left = marked.amax(-1).isfinite().tolist()
        chosen = choose(marked, samplings, seeds, indices)
        asked = [place for place, row in enumerate(rows) if row.job.request.logprobs]
        likely: dict[int, tuple[float, TokenLikelihood]] = {}
        if asked:
            hows, their_seeds, their_indices = (
                [samplings[place] for place in asked],
                [seeds[place] for place in asked],
                [indices[place] for place in asked],
            )
            drawn_from = processed(marked[asked], hows, their_seeds, their_indices)
            counts = [rows[place].job.request.top_logprobs for place in asked]
            found = likelihoods(logits[asked], drawn_from, chosen[asked], counts, self._spell)
            likely = dict(zip(asked, found, strict=True))
        for place, (row, token_id) in enumerate(zip(rows, chosen.tolist(), strict=True)):
            with self._alone(row):
                check_left(left[place], len(row.output))
                self._go_on(row, row.take(token_id, self._loaded.end_ids, likely.get(place)))

    def _go_on(self, row: Row, token: Token) -> None:
        self._deliveries.append((row.job, token))
        if token.finish is not None:
            self._retire(row)
        elif row not in self._decoding:
            self._reading.remove(row)
            self._decoding.append(row)
            self._network.begin_decoding(row.sequence)

    @contextmanager
    def _alone(self, row: Row) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a schedule, for one, is anybody's code
            self._fail(row, error)

    def _fail(self, row: Row, error: Exception) -> None:
        self._deliveries.append((row.job, told(error)))
        self._retire(row)

    def _retire(self, row: Row) -> None:
        (self._decoding if row in self._decoding else self._reading).remove(row)
        self._network.leave(row.sequence)
