"""What an engine streams of several requests at once."""

from __future__ import annotations

import asyncio

from vllm_flow.core.resources import Engine
from vllm_flow.core.values import Request, Token


def said(engine: Engine, *requests: Request) -> list[list[Token]]:
    """The tokens of each."""

    async def one(request: Request) -> list[Token]:
        return [token async for token in engine.generate(request)]

    async def all_at_once() -> list[list[Token]]:
        return await asyncio.gather(*map(one, requests))

    return asyncio.run(all_at_once())
