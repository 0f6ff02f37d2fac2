"""Fitting: a layout made to fit the tokens that there are, by what the engine itself says that each part takes.

Tokens do not add up exactly when texts are put together, so what was reckoned is measured again, and whatever is above
the limit then is taken off the next reckoning: no prompt leaves here that was not measured to be within it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vllm_flow.core.allotting import Claim, Kept, allot
from vllm_flow.core.costs import Costs, by_spot
from vllm_flow.core.errors import ContextOverflow
from vllm_flow.core.layout import HISTORY, QUESTION, SYSTEM, Block, Laid, Layout, Spot
from vllm_flow.core.ledger import Ledger, Measured
from vllm_flow.core.messages import Part, Text, Told
from vllm_flow.core.segments import LeftOut
from vllm_flow.core.values import Prompt

MARK_TOKENS = 12
"""About as many as the mark of a cut takes."""
CHARACTERS = 8
"""More than a token has of most texts: so many of them are measured for each token that there is."""
MARKINGS = 3
"""So often the number in a mark is put right: it has a part in what it counts."""


@dataclass(frozen=True, slots=True)
class Room:
    """How many tokens a prompt may have."""

    tokens: int
    why: str
    """Such as `the budget is 2000`."""


def fitted(layout: Layout, measure: Callable[[Prompt], Measured], room: Room | None) -> Prompt:
    """The prompt, with its ledger. No room is told apart from the shares' own `most` where nobody knows of any.

    Raises ContextOverflow when what there is does not fit, and no more of it may give way.
    """
    unread = 0 if room is None else _beyond_room(layout, room.tokens)
    laid = layout.laid(_from(layout, unread))
    found = measure(laid.prompt)
    costs = Costs.of(layout, laid, found, unread)
    if unread and room and sum(costs.claims[layout.history].items[unread:]) < room.tokens:
        laid = layout.laid()
        found = measure(laid.prompt)
        costs = Costs.of(layout, laid, found, 0)
    return _Fitting(layout, costs, measure, room or Room(found.tokens, "")).run(laid, found)


def _beyond_room(layout: Layout, tokens: int) -> int:
    """How many turns at the beginning of a history need not be measured, since those behind fill the room alone.

    That they do is seen when they are measured; so a long history costs no more than one that is not.
    """
    block, length = layout.blocks[layout.history], 0
    if block.share.overflow != "oldest" or block.share.first:
        return 0
    for item in reversed(range(len(block.items))):
        if length > tokens * CHARACTERS:
            return item + 1
        length += sum(len(message.text) for message in block.items[item])
    return 0


def _from(layout: Layout, unread: int) -> list[range]:
    """All items, but for these turns."""
    starts = [unread if place == layout.history else 0 for place in range(len(layout.blocks))]
    return [range(start, len(block.items)) for start, block in zip(starts, layout.blocks, strict=True)]


@dataclass
class _Fitting:
    layout: Layout
    costs: Costs
    measure: Callable[[Prompt], Measured]
    room: Room
    marks: dict[Spot, int] = field(default_factory=dict)
    """How many tokens each cut says to have left out."""

    def run(self, laid: Laid, found: Measured) -> Prompt:
        limit, claims, markings = self.room.tokens, list(self.costs.claims), 0
        whole = kept = tuple(Kept(0, len(claim.items)) for claim in claims)
        while True:
            over = self._over(laid, found)
            excess = found.tokens - self.room.tokens
            if excess <= 0 and not over:
                marks = {spot: self._gone(spot, laid, found) for spot in self.marks}
                if marks == self.marks or markings == MARKINGS:
                    return self._told(laid, found, kept)
                self.marks, markings = marks, markings + 1
            else:
                self._check_can(claims, kept, laid, found, over)
                if kept is not whole:  # as reckoned, and yet too much
                    limit -= max(0, excess)
                    claims = [_lowered(claim, over.get(place, 0)) for place, claim in enumerate(claims)]
                kept = allot(claims, self.costs.fixed, limit)
            laid = self.layout.laid([one.items for one in kept], self._cuts(kept))
            found = self.measure(laid.prompt)

    def _over(self, laid: Laid, found: Measured) -> dict[int, int]:
        """How many tokens each block has more than its `most`."""
        counts = Counter[int]()
        for (place, _, _), tokens in by_spot(laid, found).items():
            counts[place] += tokens
        shares = [block.share.most for block in self.layout.blocks]
        return {
            place: counts[place] - most
            for place, most in enumerate(shares)
            if most is not None and counts[place] > most
        }

    def _check_can(
        self, claims: Sequence[Claim], kept: tuple[Kept, ...], laid: Laid, found: Measured, over: Mapping[int, int]
    ) -> None:
        """Raises ContextOverflow when nothing can give way any more of what has to."""
        none = [_lowered(claim, 2**62) if place in over else claim for place, claim in enumerate(claims)]
        least = allot(none, 0, -(2**62))
        for place in (place for place in over if kept[place] == least[place]):
            block, most = self.layout.blocks[place], self.layout.blocks[place].share.most or 0
            what = f"'{block.name}' takes {most + over[place]} tokens and may have at most {most}"
            raise ContextOverflow(f"{what}. Raise its `most`, or say what gives way: `{_giving_way(block)}`.")
        if kept == least:
            raise ContextOverflow(_no_room(self.layout, laid.prompt, found, self.room))

    def _cuts(self, kept: Sequence[Kept]) -> dict[Spot, tuple[Part, ...]]:
        """What stands in place of the parts that are cut; `marks` then tells of just these."""
        cuts, marks = dict[Spot, tuple[Part, ...]](), dict[Spot, int]()
        for place, one in enumerate(kept):
            if one.cut is None:
                continue
            item, left = one.cut
            left -= self.costs.spots.get((place, item, -1), 0)
            parts = enumerate(self.layout.blocks[place].parts(item))
            for number, part in sorted(parts, key=lambda one: isinstance(one[1], Told)):  # their own words stay longer
                spot, cost = (place, item, number), self.costs.spots.get((place, item, number), 0)
                if cost > left:
                    begun, end = _begun(part, cost, left - MARK_TOKENS)
                    marks[spot] = self.marks.get(spot, cost - max(0, left - MARK_TOKENS))
                    mark = Text(f"{' ' if begun.text else ''}[… {marks[spot]} tokens left out]")
                    cuts[spot] = (begun, mark, *end)
                left = max(0, left - cost)
        self.marks = marks
        return cuts

    def _gone(self, spot: Spot, laid: Laid, found: Measured) -> int:
        """How many tokens of a cut part are not there: all but those of the text before the mark and behind it."""
        both = zip(laid.spots, found.parts, strict=True)
        own = [count for spots, tokens in both for one, count in zip(spots, tokens, strict=True) if one == spot]
        return self.costs.spots[spot] - sum(own[:1]) - sum(own[2:])

    def _told(self, laid: Laid, found: Measured, kept: Sequence[Kept]) -> Prompt:
        ledger = laid.prompt.ledger or Ledger(())
        budget = self.room.tokens if self.room.why else None
        ledger = replace(ledger, left_out=tuple(self._left_out(kept)), budget=budget).measured(found)
        return replace(laid.prompt, ledger=ledger)

    def _left_out(self, kept: Sequence[Kept]) -> Iterator[LeftOut]:
        alone = allot(self.costs.claims, 0, 2**62)
        for place, (block, own, one) in enumerate(zip(self.layout.blocks, alone, kept, strict=True)):
            beyond = sorted({*range(len(block.items))}.difference(own.items))
            others = sorted({*own.items}.difference(one.items))
            why = f"its share is at most {block.share.most} tokens"
            for items, reason in ((beyond, why), (others, self.room.why)):
                if items:
                    tokens = self.costs.tokens(place, items, self.layout.history)
                    yield LeftOut(block.name, block.noun, sum(map(block.size, items)), reason or why, tokens)
            if count := sum(count for (of, _, _), count in self.marks.items() if of == place):
                reason = self.room.why if own.cut is None else why
                yield LeftOut(block.name, "tokens", count, reason or why, count)


def _lowered(claim: Claim, over: int) -> Claim:
    most = claim.share.most
    return claim if most is None or not over else replace(claim, share=replace(claim.share, most=max(0, most - over)))


def _begun(part: Part, cost: int, room: int) -> tuple[Part, tuple[Text, ...]]:
    """What stands of a part before the mark, and what behind it closes a fence that was opened."""
    if not isinstance(part, Told) or not part.fence:
        return Text(_shortened(part.text, cost, room)), ()
    end = part.text.rindex(f"\n</{part.fence}>")
    closing = part.text[end:]
    text = _shortened(part.text, cost, room - cost * len(closing) // len(part.text))[:end]
    whole = f"<{part.fence}>" in text
    return replace(part, text=text if whole else ""), (Text(closing),) if whole else ()


def _shortened(text: str, cost: int, room: int) -> str:
    """About so many tokens of the text's beginning, up to the end of a word if one ends near."""
    if room <= 0:
        return ""
    found = text[: len(text) * room // cost]
    space = max(found.rfind(" "), found.rfind("\n"))
    return (found[:space] if space > len(found) * 0.8 else found).rstrip()


def _giving_way(block: Block) -> str:
    """What would let more of it go."""
    if block.share.first and block.share.overflow != "error":
        return f"shares: {{{block.name}: {{first: 0}}}}"
    how = "cut" if block.name in (SYSTEM, QUESTION) else "oldest" if block.name == HISTORY else "last"
    return f"shares: {{{block.name}: {{overflow: {how}}}}}"


def _no_room(layout: Layout, prompt: Prompt, found: Measured, room: Room) -> str:
    ledger = (prompt.ledger or Ledger(())).measured(found)
    takes = ", ".join(f"{one.segment} {one.tokens}" for one in ledger.entries)
    what = f"the prompt takes {found.tokens} tokens, and {room.why}: {takes}"
    there = {one.segment for one in ledger.entries} - {SYSTEM, QUESTION}
    ways = [_giving_way(block) for block in layout.blocks if block.name in there]
    advice = f", or let something give way, such as `{ways[0]}`" if ways else ", or a shorter question"
    return f"{what}. Nothing of it may give way. Choose more{advice}."
