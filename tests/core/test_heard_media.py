"""What a stage was told of a picture is recorded, and told again without anybody looking at it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.pictures import Knowing, KnowingReader, KnowingTagger, drawn, forgotten
from vllm_flow.core.binding import bound, outside
from vllm_flow.core.describing import NotDescribed
from vllm_flow.core.heard import Outside
from vllm_flow.core.messages import Message
from vllm_flow.core.values import Turn

CAT, SIGN = drawn("red", "cat.png"), drawn("blue", "sign.png")
TURN = Turn("a", Message("user", (CAT,)), tenant="ana")


def given(live: Knowing, then: list[Any] | None = None) -> Any:
    recall = (
        None
        if then is None
        else lambda turn, node, resource, method, place: then[place : place + 1][0] if place < len(then) else None
    )
    return bound(Outside(live, "it"), TURN, "node", recall, lambda _: None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("live", "ask"),
    [(KnowingTagger(cat=[("tabby", 0.82), ("lynx", 1 / 3)]), "tags"), (KnowingReader(cat=[("OPEN", 0.99)]), "read")],
)
def test_what_was_told_is_told_again_and_nobody_looks(live: Any, ask: str) -> None:
    assert outside(live)
    first = given(live)
    told = asyncio.run(getattr(first, ask)(CAT))
    assert told == asyncio.run(getattr(live, ask)(CAT))
    assert live.tenants == ["ana", ""]
    kept = json.loads(json.dumps(first.said))
    again = given(type(live)(), kept)
    assert asyncio.run(getattr(again, ask)(CAT)) == told
    assert again.said == kept
    assert again.unbound.asked == []


def test_another_picture_than_then_is_looked_at_anew() -> None:
    first = given(KnowingTagger(cat=[("tabby", 0.82)]))
    asyncio.run(first.tags(CAT))
    live = KnowingTagger(sign=[("street sign", 0.7)])
    again = given(live, first.said)
    assert [one.label for one in asyncio.run(again.tags(SIGN))] == ["street sign"]
    assert [one.label for one in asyncio.run(again.tags(CAT))] == []
    assert live.asked == ["sign.png", "cat.png"]


def test_what_could_not_be_described_is_told_again_too() -> None:
    first = given(KnowingTagger())
    with pytest.raises(NotDescribed, match="its content is not here any more"):
        asyncio.run(first.tags(forgotten(CAT)))
    assert first.said == [{"asked": CAT.digest, "error": "its content is not here any more"}]
    with pytest.raises(NotDescribed, match="its content is not here any more"):
        asyncio.run(given(KnowingTagger(cat=[("tabby", 0.82)]), first.said).tags(CAT))


def test_what_an_older_record_has_in_another_form_is_asked_anew() -> None:
    first = given(KnowingTagger(cat=[("tabby", 0.82)]))
    told = asyncio.run(first.tags(CAT))
    older = [{"asked": row["asked"], "tags": row["told"]} for row in first.said]
    live = KnowingTagger(cat=[("tabby", 0.82)])
    assert asyncio.run(given(live, older).tags(CAT)) == told
    assert live.asked == ["cat.png"]
