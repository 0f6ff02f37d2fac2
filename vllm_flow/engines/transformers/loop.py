"""The loop: continuous batching over all answers in the making, one token for each at every step.

Admit what waits, read one token of every row that decodes and some pieces of prompts, draw, hand out. Rows come and go
between two steps; what one of them computes does not depend on the others.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from vllm_flow.core.errors import EngineError
from vllm_flow.core.values import Prompt, Token
from vllm_flow.engines.transformers.decoding import Decoding
from vllm_flow.engines.transformers.delivering import Delivery
from vllm_flow.engines.transformers.drawing import Undrawn, next_tokens
from vllm_flow.engines.transformers.failures import check_room, out_of_memory, told
from vllm_flow.engines.transformers.loaded import Loaded, Span, learner_of
from vllm_flow.engines.transformers.prefill import Prefill
from vllm_flow.engines.transformers.row import Job, Reading, Row
from vllm_flow.engines.transformers.scoring import ScoreRequest, ScoreRow, score_row

log = logging.getLogger("vllm_flow")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is in flight at once."""

    rows: int = 256
    prefill_tokens: int = 512
    """Of prompts, read in one step: more would make whatever comes meanwhile wait longer, and the rows that decode."""
    kv_bytes: int = 2 << 30
    """Keys and values of all answers in the making, at their longest."""
    adapter_bytes: int = 1 << 29
    """Of the adapters that the answers in the making are read with."""
    prefix_bytes: int = 1 << 29
    """Keys and values that are kept for prompts to come."""
    waiting: int = 4096
    """Requests that wait to be let in; whoever sends more waits until there is a place."""


class Loop:
    """Everything that runs in the engine's thread."""

    def __init__(self, loaded: Loaded, limits: Limits) -> None:
        self._loaded = loaded
        self._network = loaded.network
        self._limits = limits
        self._waiting: deque[Job[Any, Any]] = deque()
        self._first: Reading | None = None
        """The first of those that wait, ready to begin as soon as there is room."""
        self._prefill = Prefill(loaded.network, limits.prefill_tokens, limits.prefix_bytes)
        self._decoding = Decoding(loaded.network)
        self._deliveries: list[Delivery] = []
        self._spell = lru_cache(1 << 16)(lambda token_id: str(loaded.decode([token_id])))
        """What one token says by itself: looked up often, and slow."""

    @property
    def idle(self) -> bool:
        return not (self._waiting or self._prefill.rows or self._decoding)

    @property
    def waiting(self) -> int:
        """How many are not let in yet."""
        return len(self._waiting)

    def add(self, job: Job[Any, Any]) -> None:
        self._waiting.append(job)

    @torch.inference_mode()
    def step(self) -> list[Delivery]:
        """One round. Returns the tokens it made, and the errors of the answers that cannot go on."""
        self._drop_cancelled()
        self._admit()
        for row, outcome in next_tokens(self._read(), self._spell):
            self._go_on(row, outcome)
        return self._handed_over()

    def fail_all(self, why: str) -> list[Delivery]:
        """End everything in flight. Returns that, and what a step that failed had made before."""
        jobs = [*self._waiting, *(row.job for row in self._in_flight())]
        for row in self._in_flight():
            self._retire(row)
        self._waiting.clear()
        self._first = None
        return [*self._handed_over(), *((job, EngineError(why)) for job in jobs)]

    def _handed_over(self) -> list[Delivery]:
        deliveries, self._deliveries = self._deliveries, []
        return deliveries

    def _drop_cancelled(self) -> None:
        for row in [row for row in self._in_flight() if row.job.cancelled]:
            self._retire(row)
        if any(job.cancelled for job in self._waiting):
            self._waiting = deque(job for job in self._waiting if not job.cancelled)
            self._first = None

    def _admit(self) -> None:
        """In the order in which they came, as long as there is room for the longest that each may become.

        The first in line waits until there is room, and the others behind it: none is overtaken. When nothing else is
        in flight there is room for anything.
        """
        while self._waiting and len(self._prefill.rows) + len(self._decoding) < self._limits.rows:
            job = self._waiting[0]
            try:
                if self._first is None or self._first.job is not job:
                    self._first = self._row(job)
                if not self._has_room(self._first):
                    return
                self._prefill.begin(self._first)
            except Exception as error:  # it can never be served, and is done with
                self._deliveries.append((job, told(error)))
            self._waiting.popleft()
            self._first = None

    def _row(self, job: Job[Any, Any]) -> Reading:
        row = score_row(job, self._loaded) if isinstance(job.request, ScoreRequest) else self._answer(job)
        prompt = job.request.prompt
        if self._loaded.sight is not None and isinstance(prompt, Prompt):
            row.shown = self._loaded.sight.shown(prompt, job.request.tenant)
        if job.request.adapter is not None:
            row.laid = learner_of(self._loaded).laid(job.request.adapter)
        return row

    def _answer(self, job: Job[Any, Any]) -> Row:
        prompt = self._loaded.renderer.ids(job.request.prompt, job.request.tenant)
        check_room(len(prompt), job.request.schedule.at(0).max_tokens, self._loaded.context_length)
        return Row(job, prompt, self._loaded)

    def _has_room(self, row: Reading) -> bool:
        rows = self._in_flight()
        if not rows:
            return True
        in_use = {one.laid for one in rows if one.laid is not None}
        if row.laid is not None and row.laid not in in_use:
            adapter_bytes = row.laid.bytes + sum(one.bytes for one in in_use)
            if adapter_bytes > self._limits.adapter_bytes:
                return False
        tokens = sum(one.longest for one in (*rows, row))
        return tokens * self._network.bytes_per_token <= self._limits.kv_bytes

    def _in_flight(self) -> list[Reading]:
        return [*self._prefill.rows, *self._decoding]

    def _read(self) -> list[Undrawn]:
        """Read the newest token of every row that decodes, and some pieces of prompts: those that can draw then."""
        pieces, known = self._prefill.plan(hurried=len(self._decoding) > 0)
        for one in list(self._decoding):
            with self._alone(one):
                self._decoding.part(one)
        decoding = self._decoding.spans()
        undrawn = [Undrawn(row, logits) for row, logits in known.items() if isinstance(row, Row)]
        for row, logits in self._of_each_adapter(decoding | pieces):
            if row in pieces:
                self._prefill.keep(row, pieces[row], logits)
            if isinstance(row, ScoreRow):
                with self._alone(row):
                    self._weigh(row, logits)
            elif row in decoding or (row.read and not self._prefill.awaited(row)):
                undrawn += [Undrawn(one, logits[-1]) for one in self._decoding.alike(row) if isinstance(one, Row)]
        return undrawn

    def _of_each_adapter(self, spans: dict[Reading, Span]) -> Iterator[tuple[Reading, Tensor]]:
        """As `_logits`, one call for each adapter: those without one are read as if there were none."""
        for laid in dict.fromkeys(row.laid for row in spans):
            mine = {row: span for row, span in spans.items() if row.laid is laid}
            with laid.on() if laid else nullcontext():
                found = list(self._logits(mine))
            yield from found

    def _logits(self, spans: dict[Reading, Span]) -> Iterator[tuple[Reading, Tensor]]:
        """Each row with the logits that its span wants, [those, vocab]."""
        if self._network.chunk is None and len(spans) > 1:  # one after the other, and none twice
            for row, span in spans.items():
                yield from self._logits({row: span})
            return
        if not spans:
            return
        sizes = [len(span.tokens) if span.every else 1 for span in spans.values()]
        try:
            yield from zip(spans, torch.split(self._network.read(list(spans.values())), sizes), strict=True)
        except Exception as error:
            if len(spans) == 1:
                ((row, span),) = spans.items()
                if out_of_memory(error) and row in self._prefill.rows and self._prefill.shortened(row, span):
                    log.debug("%s tokens in one call failed; prompts are read piece by piece", len(span.tokens))
                    return
                for one in self._decoding.alike(row):
                    self._fail(one, error)
                return
            log.debug("a step of %s rows failed; each is tried alone", len(spans), exc_info=True)
            for row, span in spans.items():
                yield from self._logits({row: span})

    def _weigh(self, row: ScoreRow, logits: Tensor) -> None:
        row.weigh(logits)
        if row.read:
            self._deliveries.append((row.job, row.scored()))
            self._retire(row)

    def _go_on(self, row: Row, outcome: Token | Exception) -> None:
        with self._alone(row):
            if isinstance(outcome, Exception):
                raise outcome
            self._deliveries.append((row.job, outcome))
            if outcome.finish is not None:
                self._retire(row)
            elif row not in self._decoding:
                self._prefill.leave(row)
                self._decoding.begin(row)

    @contextmanager
    def _alone(self, row: Reading) -> Iterator[None]:
        """What goes wrong in here with a row is that one's alone."""
        try:
            yield
        except Exception as error:
            self._fail(row, error)

    def _fail(self, row: Reading, error: Exception) -> None:
        self._deliveries.append((row.job, told(error)))
        self._retire(row)

    def _retire(self, row: Reading) -> None:
        if row in self._decoding:
            self._decoding.leave(row)
        else:
            self._prefill.leave(row)
            self._network.leave(row.sequence)
