"""The transformers engine: the loop in a thread of its own, behind the asynchronous contract.

Requests come in from any event loop; after each step every loop that waits for tokens is woken once. The weights are
loaded in that thread too: PyTorch keeps a team of threads for each thread that computes, and from the second team on
they sleep between any two operations instead of waiting for the next (measured: 50 ms a step instead of 31).
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from vllm_flow.core.adapting import Adapted, AdaptRequest
from vllm_flow.core.errors import EngineError
from vllm_flow.core.ledger import Measured
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.taking import check_media
from vllm_flow.core.values import Before, Prompt, Request, Token
from vllm_flow.engines.transformers.call import Call
from vllm_flow.engines.transformers.delivering import deliver
from vllm_flow.engines.transformers.forward import Forward, forward
from vllm_flow.engines.transformers.inputs import (
    Inputs,
    Layers,
    Table,
    checked_ids,
    checked_layers,
    checked_mask,
    checked_positions,
)
from vllm_flow.engines.transformers.loaded import Loaded, learner_of
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.engines.transformers.places import Places
from vllm_flow.engines.transformers.row import Job
from vllm_flow.engines.transformers.scoring import ScoreRequest
from vllm_flow.engines.transformers.worker import Worker

R = TypeVar("R")
T = TypeVar("T")
log = logging.getLogger("vllm_flow")
CLOSED = "the engine was closed before the answer was complete. Open a new one."


class TransformersEngine:
    """Serves all requests in flight together."""

    def __init__(self, load: Callable[[], Loaded], limits: Limits | None = None, threads: int | None = None) -> None:
        """Returns when `load` has; raises what it raises."""
        self._limits = limits or Limits()
        self._threads = threads
        self._arrivals: SimpleQueue[Job[Any, Any] | Call[Any] | None] = SimpleQueue()
        self._places = Places(self._limits.waiting)
        self._studies = Places(1)  # each holds gradients, and what its optimiser remembers
        self._closed = False
        self._door = threading.Lock()
        """Held while something arrives, so that nothing can come in behind the None that ends it all."""
        loading: Future[Loaded] = Future()
        self._worker = Worker(lambda: self._run(load, loading), self._end, "vllm-flow decode")
        try:
            self._worker.start()
            self._loaded = loading.result()
        except BaseException:  # Ctrl-C among them: what is loaded then has nobody to serve
            self._end()
            if loading.done():
                self._worker.join()
            raise

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        await self._prepare(request.prompt, request.tenant)
        job: Job[Request, Token] = await self._begin(request)
        try:
            while True:
                token = await job.next()
                yield token
                if token.finish is not None:
                    return
        finally:
            job.cancelled = True

    async def score(
        self, prompt: Before, completion: str | tuple[int, ...], tenant: str = "", adapter: str | None = None
    ) -> Scored:
        await self._prepare(prompt, tenant)
        job: Job[ScoreRequest, Scored] = await self._begin(ScoreRequest(prompt, completion, tenant, adapter))
        try:
            return await job.next()
        finally:
            job.cancelled = True

    async def adapt(self, request: AdaptRequest) -> Adapted:
        """One step of the optimiser between two steps of what is being generated; one request after the other."""
        learner = learner_of(self._loaded)
        async with self._studies.one():
            study = await self._done(lambda: learner.begin(self._loaded, request))
            while not study.done:
                await self._done(study.step)
            return await self._done(study.finish)

    async def _prepare(self, prompt: Before, tenant: str) -> None:
        """Raises EngineError for media that cannot be read."""
        check_media(self, prompt, self._loaded.media)
        if self._loaded.sight is not None and isinstance(prompt, Prompt):
            await self._loaded.sight.prepare(prompt, tenant)

    async def _done(self, work: Callable[[], T]) -> T:
        """What the engine's thread makes of it."""
        call = Call(work)
        self._hand_in(call)
        return await asyncio.wrap_future(call.outcome)

    async def _begin(self, request: R) -> Job[R, Any]:
        """Hand a request over, when there is a place for it to wait at."""
        await self._places.take()
        job: Job[R, Any] = Job(request, asyncio.get_running_loop())
        self._hand_in(job)
        return job

    def forward(
        self,
        ids: Table,
        attention_mask: Table | None = None,
        position_ids: Table | None = None,
        layers: Layers | None = None,
        *,
        hidden_states: bool = False,
        attentions: bool = False,
    ) -> Forward:
        """One call of the model, between two steps of what is being generated. Blocks; may be called in any thread.

        ids: [batch, tokens]. attention_mask: [batch, tokens], 0 at padding; or [batch, 1, tokens, tokens], 1 where a
        token (third axis) looks at another (fourth). Such a mask is all there is: it need not be causal, and a layer's
        own window is not applied to it. position_ids: [batch, tokens]; without them the model counts its own.
        layers: as `model.layers`, or numbers, of the layers that the engine has loaded, for this call only.

        The numbers are those of transformers' own forward pass up to the rounding of packed weights: in float32
        within 1e-4 of the largest logit. Raises EngineError.
        """
        loaded = self._loaded
        model: Any = getattr(loaded.network, "model", None)
        if model is None:
            name = loaded.facts["engine"]
            raise EngineError(f"the engine '{name}' has no forward pass to call. Choose engine=transformers.")
        checked = checked_ids(ids, int(model.config.get_text_config().vocab_size), loaded.context_length)
        inputs = Inputs(
            checked,
            checked_mask(attention_mask, checked),
            checked_positions(position_ids, checked, loaded.context_length),
            checked_layers(layers),
            hidden_states,
            attentions,
        )
        call = Call(lambda: forward(model, loaded.own_attention, inputs))
        self._hand_in(call)
        return call.outcome.result()

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, with the tokens that the tokenizer itself puts around one; for `forward`."""
        return self._loaded.renderer.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, special tokens left out."""
        return self._loaded.decode(list(ids))

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The token ids that the model reads for a prompt."""
        check_media(self, prompt, self._loaded.media)
        return self._loaded.renderer.ids(prompt)

    def prompt_text(self, prompt: Prompt) -> str:
        """The same as text: the messages in the model's chat template, up to where its answer begins."""
        check_media(self, prompt, self._loaded.media)
        return self._loaded.renderer.text(prompt)

    def count(self, prompt: Prompt) -> int:
        return len(self.prompt_ids(prompt))

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        check_media(self, prompt, self._loaded.media)
        return self._loaded.renderer.measure(prompt, tenant)

    def describe(self) -> Mapping[str, Any]:
        return self._loaded.facts

    def close(self) -> None:
        """Fail what is in flight within one step, and let the thread go."""
        self._end()
        self._worker.join()

    def _end(self) -> None:
        with self._door:
            if not self._closed:
                self._closed = True
                self._arrivals.put(None)
                self._places.close()
                self._studies.close()

    def _hand_in(self, what: Job[Any, Any] | Call[Any]) -> None:
        with self._door:
            if self._closed:
                raise EngineError(CLOSED)
            self._arrivals.put(what)

    def _run(self, load: Callable[[], Loaded], loading: Future[Loaded]) -> None:
        if self._threads is not None:
            torch.set_num_threads(self._threads)  # here: the number belongs to the thread that computes
        try:
            loaded = load()
        except BaseException as error:
            loading.set_exception(error)
            return
        loading.set_result(loaded)
        self._serve(loaded)

    def _serve(self, loaded: Loaded) -> None:
        loop = Loop(loaded, self._limits)
        while self._let_in(loop):
            waiting = loop.waiting
            try:
                deliveries = loop.step()
            except Exception as error:
                log.debug("a step failed", exc_info=True)
                deliveries = loop.fail_all(f"the engine failed: {type(error).__name__}: {error}. Report this.")
            self._places.give(waiting - loop.waiting)
            deliver(deliveries)
        deliver(loop.fail_all(CLOSED))
        loaded.network.close()
        if loaded.learner is not None:
            loaded.learner.close()

    def _let_in(self, loop: Loop) -> bool:
        """Pass on what has arrived, waiting if there is nothing else to do. False when the engine was closed."""
        while loop.idle or not self._arrivals.empty():
            arrived = self._arrivals.get()
            if arrived is None:
                return False
            if isinstance(arrived, Job):
                loop.add(arrived)
                continue
            arrived.run()
            if not loop.idle:  # one between two steps: however many come, the answers go on
                break
        return True
