"""The transformers engine: one thread that decodes, requests in the order they came, tokens streamed back."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import torch

from vllm_flow.core.errors import EngineError, FlowError
from vllm_flow.core.values import Prompt, Request, Token
from vllm_flow.engines.transformers.decode import answer
from vllm_flow.engines.transformers.load import Loaded

log = logging.getLogger("vllm_flow")
CLOSED = "the engine was closed before the answer was complete. Open a new one."


@dataclass(eq=False)
class Job:
    """One request in flight, and the way back to the event loop that waits for it."""

    request: Request
    loop: asyncio.AbstractEventLoop
    arrived: asyncio.Queue[Token | FlowError] = field(default_factory=asyncio.Queue)
    cancelled: bool = False

    def publish(self, item: Token | FlowError) -> None:
        """Hand one item over, from the decoding thread."""
        try:
            self.loop.call_soon_threadsafe(self.arrived.put_nowait, item)
        except RuntimeError:  # the loop is closed: nobody waits any more
            self.cancelled = True


class TransformersEngine:
    """Serves one request at a time; others wait in line."""

    def __init__(self, loaded: Loaded, threads: int | None = None) -> None:
        self._loaded = loaded
        self._threads = threads
        self._line: SimpleQueue[Job | None] = SimpleQueue()
        self._closed = False
        self._door = threading.Lock()
        """Held while something joins the line, so that nothing can join behind the None that ends it."""
        self._worker = threading.Thread(target=self._work, name="vllm-flow decode", daemon=True)
        self._worker.start()

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        job = Job(request, asyncio.get_running_loop())
        self._join_line(job)
        try:
            while True:
                item = await job.arrived.get()
                if isinstance(item, FlowError):
                    raise item
                yield item
                if item.finish is not None:
                    return
        finally:
            job.cancelled = True

    def count(self, prompt: Prompt) -> int:
        return len(self._loaded.renderer.ids(prompt))

    def describe(self) -> Mapping[str, Any]:
        return self._loaded.facts

    def close(self) -> None:
        """End what is running within one token, fail what waits, and let the thread go."""
        with self._door:
            if not self._closed:
                self._closed = True
                self._line.put(None)
        self._worker.join()

    def _join_line(self, job: Job) -> None:
        with self._door:
            if self._closed:
                raise EngineError(CLOSED)
            self._line.put(job)

    def _work(self) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)  # here: the number belongs to the thread that computes
        while (job := self._line.get()) is not None:
            self._serve(job)

    def _serve(self, job: Job) -> None:
        """Answer one request. Whatever goes wrong is this request's alone."""
        try:
            if self._closed:
                raise EngineError(CLOSED)
            for token in () if job.cancelled else answer(self._loaded, job.request):
                job.publish(token)
                if job.cancelled:
                    return
                if self._closed:
                    raise EngineError(CLOSED)
        except FlowError as error:
            job.publish(error)
        except Exception as cause:
            log.debug("a request failed", exc_info=True)
            job.publish(EngineError(_why(cause)))


def _why(cause: Exception) -> str:
    first = str(cause).strip().partition("\n")[0].rstrip(".")
    if isinstance(cause, torch.OutOfMemoryError) or "allocate memory" in first:
        return f"out of memory: {first}. Choose a smaller model, a shorter context, or a smaller dtype."
    return f"the model failed: {type(cause).__name__}: {first}. Other requests go on; the log has the details at DEBUG."
