"""What is said in one conversation is never in another: not in prompts, replies, the store or the record."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import vllm_flow
from tests.replay.runs import TINY
from vllm_flow import Session
from vllm_flow.core.messages import user
from vllm_flow.core.recorded import read
from vllm_flow.core.values import Turn
from vllm_flow.engines.echo import pieces, token_id

CANARY = re.compile(r"canary(\d+)said")
CONVERSATIONS, TURNS, CUT_OFF = 64, 3, 5
ECHO = ("engine=echo",)
LENGTH = "{feedback: {start: 30, gain: 2000, low: 30, high: 1000}}"
LONG = (*TINY, f"sampling.min_tokens={LENGTH}", f"sampling.max_tokens={LENGTH}")
"""Answers that nobody reads to the end are so long that whoever leaves is there before it."""
KEPT = ("store=sqlite", "store.path=talk.sqlite")


def question(place: int, number: int) -> str:
    return f"turn {number}: keep canary{place}said, and say it again: canary{place}said"


async def cut_off(session: Session, text: str, name: str) -> None:
    """A reader who leaves after the first piece."""
    async for _ in session.stream(Turn(name, user(text), feedback=1.0)):
        break


async def talk(session: Session, place: int) -> None:
    name = f"talk {place}"
    for number in range(1, TURNS + 1):
        if (place + number) % CUT_OFF == 0:
            await cut_off(session, question(place, number), name)
        else:
            await session.arun(Turn(name, user(question(place, number)), feedback=-1.0))


async def all_at_once(session: Session) -> None:
    await asyncio.gather(*(talk(session, place) for place in range(CONVERSATIONS)))


def texts(value: Any) -> Iterator[str]:
    """All that is written anywhere in JSON values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, Sequence):
        for item in value:
            yield from texts(item)


def found_in(*values: Any) -> set[int]:
    return {int(one) for value in values for text in texts(value) for one in CANARY.findall(text)}


def place_of(row: Mapping[str, Any]) -> int:
    return int(row["conversation"].removeprefix("talk "))


PIECES = {
    token_id(piece): piece
    for place in range(CONVERSATIONS)
    for number in range(1, TURNS + 1)
    for piece in pieces(question(place, number))
}


def echoed(ids: Sequence[int]) -> str:
    """What the echo engine read of what was said: its ids are hashes."""
    return "".join(PIECES.get(one, "") for one in ids)


@pytest.mark.parametrize(
    ("engine", "context"),
    [
        (ECHO, "full"),
        (ECHO, "sink"),
        (ECHO, "summary"),
        (ECHO, "facts"),
        (ECHO, "bm25"),
        (LONG, "full"),
        (LONG, "window"),
    ],
    ids=lambda one: one if isinstance(one, str) else "echo" if one is ECHO else "tiny",
)
def test_no_canary_is_ever_in_another_conversation(engine: Sequence[str], context: str) -> None:
    soon = {
        "summary": ("turns=0", "every=1"),
        "facts": ("turns=0", "every=1"),
        "sink": ("turns=1",),
        "bm25": ("turns=1",),
    }
    early = [f"context.{one}" for one in soon.get(context, ())]
    with vllm_flow.load("dialogue", [*engine, *KEPT, f"context={context}", *early]) as session:
        asyncio.run(all_at_once(session))
        opened, store = session.opened("engine"), session.opened("store")
        stored = {place: store.turns(f"talk {place}") for place in range(CONVERSATIONS)}
        recorded = read(session.folder or Path())
        spell = echoed if engine is ECHO else opened.decode
        prompts: dict[int, list[str]] = defaultdict(list)
        for row in recorded.calls().values():
            asked = [call.get("prompt_ids") for call in row["calls"]]
            prompts[place_of(row)] += [spell(ids) for ids in asked if ids is not None]
    assert sum(map(len, prompts.values())) > CONVERSATIONS * (TURNS - 1)
    replies = [one.reply for turns in stored.values() for one in turns if one.reply]
    interrupted = sum(one.finish_reason == "interrupted" for one in replies)
    assert engine is ECHO or interrupted >= CONVERSATIONS * TURNS // CUT_OFF // 2  # echo has said it all by then
    for place in range(CONVERSATIONS):
        assert [one.turn.number for one in stored[place]] == list(range(1, TURNS + 1))
        said = [(one.turn.text, one.reply.text if one.reply else "") for one in stored[place]]
        assert found_in(said) == {place}
        assert found_in(prompts[place]) == {place}
    for name in ("results.jsonl", "calls.jsonl", "events.jsonl"):
        for row in recorded.rows(name):
            if "conversation" in row:
                assert found_in(row) <= {place_of(row)}
