"""The openai engine, live: requests to a server, tried again while nothing has been said yet."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx2

from vllm_flow.core.errors import EngineError
from vllm_flow.core.taking import check_media, check_plain, check_shape
from vllm_flow.core.values import Prompt, Request, Token
from vllm_flow.engines.loop_thread import LoopThread
from vllm_flow.engines.openai.answer import AGAIN, Answer
from vllm_flow.engines.openai.dialects import DIALECTS
from vllm_flow.engines.openai.failures import Passing, Place
from vllm_flow.engines.openai.options import OpenAI

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 60.0
"""A server that asks to wait for longer has failed."""
DONE = "[DONE]"


class OpenAIEngine:
    """Serves requests from any event loop through one client."""

    def __init__(self, options: OpenAI, key: str | None) -> None:
        self._options = options
        self._dialect = DIALECTS[options.dialect]
        base_url = options.base_url.rstrip("/")
        self._url = f"{base_url}/chat/completions"
        self._place = Place(base_url, key, options.api_key)
        self._slots = asyncio.Semaphore(options.max_in_flight)
        self._client = httpx2.AsyncClient(
            headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})},
            timeout=httpx2.Timeout(options.timeout_s, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=options.max_in_flight),
        )
        self._thread = LoopThread("vllm-flow openai", self._client.aclose)

    async def generate(self, request: Request) -> AsyncGenerator[Token, None]:
        check_plain(self, request)
        check_shape(self, request, self._dialect.shapes)
        check_media(self, request.prompt, self._options.media)
        async with aclosing(self._thread.stream(self._answer(request))) as tokens:
            async for token in tokens:
                yield token

    def count(self, prompt: Prompt) -> int:
        what = "the tokenizer is with the server, so no prompt can be counted here"
        raise self._place.error(what, "Choose an engine that runs the model here, or do not count.")

    def describe(self) -> Mapping[str, Any]:
        can = self._options.capabilities()
        return {
            "engine": "openai",
            "model": self._options.model.name,
            "served": self._options.served,
            "base_url": self._place.base_url,
            "dialect": self._options.dialect,
            "seeded": can.seeded,
            "sampler_order": "not documented" if can.sampler_order == () else "as sampling.py",
            "batch_invariant": can.batch_invariant,
            "media": sorted(can.media),
            "token_ids": can.token_ids,
            "tools": "template" if self._dialect.tools else "written",
        }

    def close(self) -> None:
        self._thread.close()

    async def _answer(self, request: Request) -> AsyncGenerator[Token, None]:
        if request.prompt.plain:
            what = "the server puts its model's chat template around what it is sent"
            raise self._place.error(what, "Use fuse/chat (pipeline=dialogue), or an engine that runs the model here.")
        body = json.dumps(self._dialect.body(self._options.served, request, self._options.seeds)).encode("ascii")
        async with self._slots:
            for attempt in itertools.count():
                said = False
                try:
                    async with aclosing(self._attempt(body, request)) as tokens:
                        async for token in tokens:
                            said = True
                            yield token
                    return
                except Passing as problem:
                    if said or attempt == self._options.retries:
                        raise
                    wait_s = _wait_s(attempt, problem)
                await asyncio.sleep(wait_s)

    async def _attempt(self, body: bytes, request: Request) -> AsyncGenerator[Token, None]:
        answer = Answer(self._place, self._dialect, request)
        try:
            async with self._client.stream("POST", self._url, content=body) as response:
                if response.status_code != 200:
                    raise self._place.refusal(response.status_code, await response.aread(), response.headers)
                async for event in httpx2.EventSource(response):
                    if event.data == DONE:
                        break
                    for token in answer.read(event.data):
                        yield token
                yield answer.end()
        except httpx2.HTTPError as error:
            raise self._told(error) from error

    def _told(self, error: httpx2.HTTPError) -> EngineError:
        """What failed on the way."""
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        match error:
            case httpx2.ConnectError() | httpx2.ConnectTimeout():
                right = "Start the server, or set engine.base_url to where it is."
                return Passing(self._place.line(f"no connection: {what}", right))
            case httpx2.TimeoutException():
                right = "Raise engine.timeout_s, or lower engine.max_in_flight."
                return self._place.error(f"it was silent for {self._options.timeout_s:g} s", right)
            case httpx2.SSEError():
                return self._place.error(what, "Set engine.base_url to a server's address, up to /v1.")
        return Passing(self._place.line(f"the connection broke off: {what}", AGAIN))


def _wait_s(attempt: int, problem: Passing) -> float:
    """Twice as long each time, less up to a half by chance so that many do not come back at once (jitter).

    Never less than the server asks for. Raises EngineError when that is too long.
    """
    wanted = problem.wait_s or 0.0
    if wanted > LONGEST_WAIT_S:
        raise EngineError(f"{problem} It asks to wait {wanted:g} s, and {LONGEST_WAIT_S:g} s is the most.")
    growing = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**attempt)
    return max(wanted, growing * random.uniform(0.5, 1.0))  # noqa: S311
