"""Asking an engine directly: one answer, as the framework would make it of the engine's stream."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from vllm_flow.core.resources import Engine
from vllm_flow.core.sampling import Sampling, Schedule
from vllm_flow.core.values import Completion, Message, Prompt, Request, user
from vllm_flow.stages.infer import complete

T = TypeVar("T")


def ask(
    engine: Engine, *messages: str | Message, seed: int = 0, sample: int = 0, logprobs: bool = False, **sampling: Any
) -> Completion:
    """The answer of a live engine, which stays open. A text is a message of the user; `sampling` are its parameters.

    Raises what the engine raises, and EngineError for a stream that ends without its finish.
    """
    said = tuple(user(one) if isinstance(one, str) else one for one in messages)
    request = Request(Prompt(said), Schedule(Sampling(**sampling)), seed, sample, logprobs)
    return to_end(lambda: complete(engine, request))


def to_end(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What a coroutine gives, in an event loop of its own.

    Where a loop runs already, as in a notebook or an async test, it runs in a thread, and that other loop waits.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    with ThreadPoolExecutor(1, "vllm-flow testing") as pool:
        return pool.submit(contextvars.copy_context().run, lambda: asyncio.run(work())).result()
