"""Costs: what each item of a layout takes of a prompt, as it was measured, and so what each block of it claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vllm_flow.core.allotting import Claim
from vllm_flow.core.layout import HISTORY, QUESTION, SYSTEM, Block, Laid, Layout, Spot
from vllm_flow.core.ledger import Measured


@dataclass(frozen=True)
class Costs:
    """What was measured of the whole."""

    spots: Mapping[Spot, int]
    claims: tuple[Claim, ...]
    fixed: int
    unread: int
    """How many turns of the history have not been measured, and are to go before all others."""

    @classmethod
    def of(cls, layout: Layout, laid: Laid, found: Measured, unread: int) -> Costs:
        spots = by_spot(laid, found)
        around = max(0, found.template // len(laid.prompt.messages))
        claims = [_claim(block, place, spots, around) for place, block in enumerate(layout.blocks)]
        claimed = sum(sum(one.items) + one.frame + sum(one.beside) for one in claims)
        history = claims[layout.history]
        claimed -= sum(history.beside[:unread])
        items = (*(found.tokens for _ in range(unread)), *history.items[unread:])
        claims[layout.history] = replace(history, items=items)
        return cls(spots, tuple(claims), found.tokens - claimed, unread)

    def tokens(self, place: int, items: Sequence[int], history: int) -> int | None:
        """Of items of a block; None when some were not measured."""
        if place == history and any(item < self.unread for item in items):
            return None
        return sum(self.claims[place].items[item] for item in items)


def by_spot(laid: Laid, found: Measured) -> Counter[Spot]:
    counts = Counter[Spot]()
    for spots, tokens in zip(laid.spots, found.parts, strict=True):
        for spot, count in zip(spots, tokens, strict=True):
            counts[spot] += count
    return counts


def _claim(block: Block, place: int, spots: Mapping[Spot, int], around: int) -> Claim:
    items, frame = [0] * len(block.items), 0
    for (of, item, _), tokens in spots.items():
        if of == place and item is None:
            frame += tokens
        elif of == place and item is not None:
            items[item] += tokens
    is_history = block.name == HISTORY
    beside = tuple(around * len(one) for one in block.items) if is_history else ()
    stays = block.name in (SYSTEM, QUESTION)
    return Claim(block.share, tuple(items), frame, beside, oldest_first=is_history, stays=stays)
