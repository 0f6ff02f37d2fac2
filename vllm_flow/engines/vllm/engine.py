"""The vllm engine, live: vLLM's own engine, stepped in a thread with an event loop of its own.

Not in a process of its own, as vLLM's asynchronous client would have it: that starts this program once more, which
scripts and notebooks are not written for. Everything that touches vLLM happens in the one thread, loading too.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from vllm_flow.core.errors import EngineError, FlowError
from vllm_flow.core.ledger import Measured
from vllm_flow.core.taking import check_media, check_plain
from vllm_flow.core.values import Prompt, Request, Token
from vllm_flow.engines.loop_thread import LoopThread
from vllm_flow.engines.vllm.answer import Answer
from vllm_flow.engines.vllm.load import Loaded

if TYPE_CHECKING:
    from vllm import RequestOutput

log = logging.getLogger("vllm_flow")


class VllmEngine:
    """Serves requests from any event loop together."""

    def __init__(self, load: Callable[[], Loaded]) -> None:
        """Returns when `load` has; raises what it raises."""
        self._loaded: Loaded | None = None
        self._arrivals: dict[str, asyncio.Queue[RequestOutput | EngineError]] = {}
        """For each request what vLLM has given for it; touched in the thread alone."""
        self._names = map(str, itertools.count())
        self._stepping: asyncio.Task[None] | None = None
        self._broken: EngineError | None = None
        self._thread = LoopThread("vllm-flow vllm", self._end)
        try:
            self._thread.call(lambda: self._keep(load()))
        except BaseException:  # Ctrl-C among them: then nobody waits until what is loaded can be closed
            threading.Thread(target=self._thread.close, daemon=True).start()
            raise

    def _keep(self, loaded: Loaded) -> None:
        self._loaded = loaded

    @property
    def _live(self) -> Loaded:
        if self._loaded is None:
            raise EngineError("the engine is closed. Open a new one.")
        return self._loaded

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        check_plain(self, request)
        check_media(self, request.prompt, ())
        async with aclosing(self._thread.stream(self._answer(request))) as tokens:
            async for token in tokens:
                yield token

    def count(self, prompt: Prompt) -> int:
        check_media(self, prompt, ())
        return len(self._live.renderer.ids(prompt))

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        check_media(self, prompt, ())
        return self._live.renderer.measure(prompt, tenant)

    def describe(self) -> Mapping[str, Any]:
        return self._live.facts

    def close(self) -> None:
        """End what is in flight, and give the memory back."""
        self._thread.close()

    async def _end(self) -> None:
        if self._loaded is not None:
            self._loaded.close()

    async def _answer(self, request: Request) -> AsyncGenerator[Token, None]:
        if self._broken:
            raise self._broken
        name, arrived = next(self._names), asyncio.Queue["RequestOutput | EngineError"]()
        self._arrivals[name] = arrived
        try:
            answer = self._begun(name, request)
            while True:
                output = await arrived.get()
                if isinstance(output, EngineError):
                    raise output
                for token in answer.read(output):
                    yield token
                    if token.finish:
                        return
        finally:
            del self._arrivals[name]
            self._live.llm.abort_request([name])

    def _begun(self, name: str, request: Request) -> Answer:
        """The answer, asked of vLLM by this name."""
        try:
            answer = Answer(request, self._live)
            salt = {"cache_salt": request.tenant} if request.tenant else {}  # of its prefix cache
            self._live.llm.add_request(name, {"prompt_token_ids": answer.prompt, **salt}, answer.params)
        except FlowError:
            raise
        except Exception as cause:  # its versions have classes of their own for what they refuse
            raise EngineError(f"vLLM refuses the request: {_first_line(cause)}. Change what it names.") from cause
        if self._stepping is None or self._stepping.done():
            self._stepping = asyncio.create_task(self._steps())
        return answer

    async def _steps(self) -> None:
        """Step while anything is in flight. Between two steps requests come and go, and tokens are handed out."""
        llm = self._live.llm
        try:
            while llm.has_unfinished_requests():
                for output in llm.step():
                    if arrived := self._arrivals.get(output.request_id):
                        arrived.put_nowait(output)
                await asyncio.sleep(0)
        except Exception as cause:  # what it has scheduled and not computed it cannot take back
            log.debug("vLLM failed", exc_info=cause)
            what = f"vLLM failed: {type(cause).__name__}: {_first_line(cause)}"
            self._broken = EngineError(f"{what}. Open a new engine; the log has the details at DEBUG.")
            for arrived in self._arrivals.values():
                arrived.put_nowait(self._broken)


def _first_line(cause: Exception) -> str:
    return str(cause).strip().partition("\n")[0].rstrip(".")
