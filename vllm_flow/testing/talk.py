"""Turns and answers that store promises are tried with."""

from __future__ import annotations

from dataclasses import replace

from vllm_flow.core.messages import user
from vllm_flow.core.resources import Store
from vllm_flow.core.values import Completion, Turn, Usage

YES = Completion("Yes – 是。", (5, 6, 2), "stop", Usage(12, 3), (-0.25, -1e-9, 0.0))
NO = Completion("No.", (7, 2), "length", Usage(12, 2))
CUT = Completion("Well, I", (9, 10), "interrupted", Usage(12, 2))


def asked(number: int | None, text: str = "Is it raining?", conversation: str = "ann") -> Turn:
    return Turn(conversation, user(text), number=number)


def answered(store: Store, number: int, text: str, conversation: str = "ann", **state: object) -> Turn:
    """A turn that was begun and committed; the reply is its text and ": yes"."""
    turn = asked(number, text, conversation)
    store.begin(turn)
    store.commit(turn, replace(YES, text=f"{text}: yes"), state)
    return turn
