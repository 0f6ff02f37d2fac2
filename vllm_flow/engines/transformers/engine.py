"""The transformers engine: the loop in a thread of its own, behind the asynchronous contract.

Requests come in from any event loop; after each step every loop that waits for tokens is woken once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Iterable, Mapping
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from vllm_flow.core.errors import EngineError
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.values import Prompt, Request, Token
from vllm_flow.engines.transformers.load import Loaded
from vllm_flow.engines.transformers.loop import Delivery, Limits, Loop
from vllm_flow.engines.transformers.places import Places
from vllm_flow.engines.transformers.row import Job
from vllm_flow.engines.transformers.scoring import ScoreRequest

R = TypeVar("R")
log = logging.getLogger("vllm_flow")
CLOSED = "the engine was closed before the answer was complete. Open a new one."


class TransformersEngine:
    """Serves all requests in flight together."""

    def __init__(self, loaded: Loaded, limits: Limits | None = None, threads: int | None = None) -> None:
        self._loaded = loaded
        self._limits = limits or Limits()
        self._threads = threads
        self._arrivals: SimpleQueue[Job[Any, Any] | None] = SimpleQueue()
        self._places = Places(self._limits.waiting)
        self._closed = False
        self._door = threading.Lock()
        """Held while something arrives, so that nothing can come in behind the None that ends it all."""
        self._worker = threading.Thread(target=self._work, name="vllm-flow decode", daemon=True)
        self._worker.start()

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        job: Job[Request, Token] = await self._begin(request)
        try:
            while True:
                token = await job.next()
                yield token
                if token.finish is not None:
                    return
        finally:
            job.cancelled = True

    async def score(self, prompt: Prompt | None, completion: str | tuple[int, ...]) -> Scored:
        job: Job[ScoreRequest, Scored] = await self._begin(ScoreRequest(prompt, completion))
        try:
            return await job.next()
        finally:
            job.cancelled = True

    async def _begin(self, request: R) -> Job[R, Any]:
        """Hand a request over, when there is a place for it to wait at."""
        await self._places.take()
        job: Job[R, Any] = Job(request, asyncio.get_running_loop())
        with self._door:
            if self._closed:
                raise EngineError(CLOSED)
            self._arrivals.put(job)
        return job

    def count(self, prompt: Prompt) -> int:
        return len(self._loaded.renderer.ids(prompt))

    def describe(self) -> Mapping[str, Any]:
        return self._loaded.facts

    def close(self) -> None:
        """Fail what is in flight within one step, and let the thread go."""
        with self._door:
            if not self._closed:
                self._closed = True
                self._arrivals.put(None)
                self._places.close()
        self._worker.join()

    def _work(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)  # here: the number belongs to the thread that computes
        loop = Loop(self._loaded, self._limits)
        while self._let_in(loop):
            waiting = loop.waiting
            try:
                deliveries = loop.step()
            except Exception as error:
                log.debug("a step failed", exc_info=True)
                deliveries = loop.fail_all(f"the engine failed: {type(error).__name__}: {error}. Report this.")
            self._places.give(waiting - loop.waiting)
            _deliver(deliveries)
        _deliver(loop.fail_all(CLOSED))
        self._loaded.network.close()

    def _let_in(self, loop: Loop) -> bool:
        """Pass on what has arrived, waiting if there is nothing else to do. False when the engine was closed."""
        while loop.idle or not self._arrivals.empty():
            job = self._arrivals.get()
            if job is None:
                return False
            loop.add(job)
        return True


def _deliver(deliveries: Iterable[Delivery]) -> None:
    """Hand out the tokens of one step: one wake-up for each event loop, however many wait in it."""
    of_loop: dict[asyncio.AbstractEventLoop, list[Delivery]] = {}
    for job, item in deliveries:
        of_loop.setdefault(job.loop, []).append((job, item))
    for loop, mine in of_loop.items():
        try:
            loop.call_soon_threadsafe(_arrive, mine)
        except RuntimeError:  # the loop is closed: nobody waits any more
            for job, _ in mine:
                job.cancelled = True


def _arrive(deliveries: Iterable[Delivery]) -> None:
    for job, item in deliveries:
        job.arrived.put_nowait(item)
