"""Measuring: the ledger of a prompt, filled by the engine that reads it, whoever made the prompt, and for whom."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import Protocol, runtime_checkable

from vllm_flow.core.errors import EngineError
from vllm_flow.core.ledger import Entry, Ledger, Measured, media_entries, segment_of
from vllm_flow.core.resources import Engine
from vllm_flow.core.taking import named
from vllm_flow.core.values import Prompt


@runtime_checkable
class Measures(Protocol):
    """An engine that also says what the parts of a prompt take of it; its capabilities say `measures`."""

    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        """What the model reads, part by part; the sum is `count`.

        tenant: whose it is; what is remembered of it serves no other. Raises EngineError for a prompt that it refuses.
        """
        ...


def measuring(engine: Engine | None) -> Measures:
    """The engine, as one that measures. Raises EngineError when it does not."""
    if not isinstance(engine, Measures):
        whose = "there is no engine" if engine is None else f"{named(engine)} has no tokenizer"
        raise EngineError(f"{whose} to count a prompt with. Choose one, such as engine=transformers.")
    return engine


def ledger_of(prompt: Prompt, engine: Engine, tenant: str = "") -> Ledger:
    """What an engine that does not measure reads has a ledger without numbers."""
    ledger = _whole(prompt, prompt.ledger) if prompt.ledger else by_role(prompt)
    if isinstance(engine, Measures):
        with suppress(EngineError):  # a prompt that it refuses: the request will say so
            return ledger.measured(engine.measure(prompt, tenant))
    return ledger


def _whole(prompt: Prompt, ledger: Ledger) -> Ledger:
    """The ledger, if the messages are still those that it is of: a stage behind the fuser may have made them others."""
    if len(ledger.whose) <= len(prompt.messages) and all(
        len(names) == len(message.parts) for names, message in zip(ledger.whose, prompt.messages, strict=False)
    ):
        return ledger
    return replace(by_role(prompt), left_out=ledger.left_out, budget=ledger.budget)


def by_role(prompt: Prompt) -> Ledger:
    """Of a prompt whose fuser keeps no ledger: the system's messages, the last message, and what stands between."""
    last = len(prompt.messages) - 1
    names = [
        "system" if message.role == "system" else "question" if place == last else "history"
        for place, message in enumerate(prompt.messages)
    ]
    pairs = list(zip(names, prompt.messages, strict=True))
    whose = tuple(tuple(segment_of(part, name) for part in message.parts) for name, message in pairs)
    entries = tuple(Entry(name, items=count) for name, count in Counter(names).items())
    return Ledger((*entries[:-1], *media_entries(prompt.messages), *entries[-1:]), whose=whose)
