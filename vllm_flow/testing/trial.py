"""An engine on trial: requests that use only what it honours, and answers as the framework reads them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from vllm_flow.core.resources import Capabilities, Engine, EngineOptions
from vllm_flow.core.shape import Shape
from vllm_flow.core.values import Completion, Prompt, Request, Token
from vllm_flow.stages.infer import complete
from vllm_flow.testing import values
from vllm_flow.testing.compare import require

T = TypeVar("T")
TOKENS = 16
"""How long answers may get, where a promise needs no other length."""
PROMPTS = (
    values.prompt("Count from one to twelve, in words, one after the other."),
    values.prompt("Why is the sky blue?", "Light is scattered.", "And why is it red at sunset, then?"),
    values.prompt("Say good morning in Greek, in Chinese (你好) and with a picture 🙂, please."),
)


@dataclass(frozen=True)
class Trial:
    """One engine, live, with its options and the prompts to try it with."""

    options: EngineOptions
    engine: Engine
    prompts: tuple[Prompt, ...]

    @property
    def can(self) -> Capabilities:
        return self.options.capabilities()

    def honours(self, parameter: str) -> bool:
        return parameter in self.can.sampling

    def length(self, answer: Completion) -> int | None:
        """How many tokens the model wrote: those whose ids are there, else what the engine was told."""
        return len(answer.token_ids) if self.can.token_ids else answer.usage.completion_tokens

    def request(
        self,
        prompt: Prompt,
        *,
        seed: int = 0,
        sample: int = 0,
        logprobs: bool = False,
        top_logprobs: int = 0,
        shape: Shape | None = None,
        **sampling: Any,
    ) -> Request:
        """Every other parameter neutral, at most TOKENS tokens."""
        schedule = values.schedule(**{"max_tokens": TOKENS, **sampling})
        return Request(prompt, schedule, seed, sample, logprobs, top_logprobs, shape=shape)

    def greedy(self, prompt: Prompt, *, seed: int = 0, **sampling: Any) -> Request:
        """Greedy if the engine can be; else the seed alone makes the answer repeatable."""
        calm = {"temperature": 0.0} if self.honours("temperature") else {}
        return self.request(prompt, seed=seed, **{**calm, **sampling})

    async def tokens(self, request: Request) -> list[Token]:
        """The stream of one answer as it comes, whole."""
        async with aclosing(self.stream(request)) as stream:
            return [token async for token in stream]

    def stream(self, request: Request) -> AsyncGenerator[Token, None]:
        """The engine's stream. Raises AssertionError when it is none."""
        stream = self.engine.generate(request)
        if inspect.iscoroutine(stream):
            stream.close()
        require(hasattr(stream, "aclose"), "generate gave no asynchronous generator. Write it with `yield`.")
        return stream

    async def answer(self, request: Request) -> Completion:
        return await complete(self.engine, request)

    async def long_answer(self) -> tuple[Prompt, list[Token]]:
        """A prompt and its greedy answer in four tokens or more, of which two or more show text."""
        for prompt in self.prompts:
            tokens = await self.tokens(self.greedy(prompt))
            if len(tokens) >= 4 and sum(1 for token in tokens if token.text) >= 2:
                return prompt, tokens
        raise AssertionError("no prompt was answered in four tokens with text. Give check_engine other prompts.")


async def all_of(work: list[Coroutine[Any, Any, T]]) -> list[T]:
    """All at once, in order. Raises the first error when all have ended, so that none is left running."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for one in results:
        if isinstance(one, BaseException):
            raise one
    return [one for one in results if not isinstance(one, BaseException)]
