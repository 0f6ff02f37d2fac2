"""Delivering: what one step has made goes from the engine's thread to the event loops that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from vllm_flow.core.errors import FlowError
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.values import Token
from vllm_flow.engines.transformers.row import Job

Delivery = tuple[Job[Any, Any], Token | Scored | FlowError]


def deliver(deliveries: Iterable[Delivery]) -> None:
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
