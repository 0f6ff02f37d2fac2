"""Layout: system, segments, history and question as the messages of a prompt, and whose each part of it is.

What stands first does not change from turn to turn, so that a prefix cache finds it again; what may change stands in
the last message, before the question. Data is fenced, by a fence that the data does not spell itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from vllm_flow.core.fencing import fence_of
from vllm_flow.core.ledger import ORDER, Entry, Ledger, media_entries, segment_of
from vllm_flow.core.messages import Message, Part, Role, Text, by_question
from vllm_flow.core.segments import Segment, Share
from vllm_flow.core.values import Prompt

SYSTEM, HISTORY, QUESTION = "system", "history", "question"
NOUNS = {
    HISTORY: "messages",
    "facts": "facts",
    "memory": "facts",
    "recalled": "turns",
    "retrieved": "passages",
    "documents": "passages",
}
Spot = tuple[int, int | None, int]
"""Of a part: the block that it is of, the item in that or None for the frame, and which part of the item."""
Shared = Callable[[str, Share], Share]
"""The share that a segment of this name has, when it brings this one."""
Cuts = Mapping[Spot, tuple[Part, ...]]
"""What stands in place of a part that is cut."""


@dataclass(frozen=True, slots=True)
class Block:
    """A segment, or the system message, the history, the question, as it asks for its place."""

    name: str
    share: Share
    items: tuple[tuple[Message, ...], ...]
    """Of the history turns; of a segment one message each, of which only the parts count."""
    sources: tuple[str, ...] = ()
    """For each item."""
    scores: tuple[float | None, ...] = ()
    """For each item."""
    opening: str = ""
    closing: str = ""

    @property
    def noun(self) -> str:
        return NOUNS.get(self.name, "items")

    def parts(self, item: int) -> tuple[Part, ...]:
        return tuple(part for message in self.items[item] for part in message.parts)

    def size(self, item: int) -> int:
        """In the block's own noun."""
        return len(self.items[item]) if self.name == HISTORY else 1


@dataclass(frozen=True, slots=True)
class Laid:
    """A prompt, and where each part of each message comes from."""

    prompt: Prompt
    spots: tuple[tuple[Spot, ...], ...]


@dataclass(frozen=True)
class Layout:
    """What there is to say."""

    blocks: tuple[Block, ...]
    """In the order of the prompt; the last is the question."""
    history: int
    """Which of them is the history: segments before it are of the system's message, those behind of the user's."""
    role: Role
    """Of the last message."""

    @classmethod
    def of(
        cls,
        system: str | None,
        history: tuple[Sequence[Message], Share],
        segments: Iterable[Segment],
        question: Message,
        shared: Shared,
    ) -> Layout:
        """history: the earlier messages and the share they have. Messages of the system that begin it never go."""
        messages = (*((Message("system", (Text(system),)),) if system else ()), *history[0])
        begun = next((place for place, one in enumerate(messages) if one.role != "system"), len(messages))
        said = sorted((one for one in segments if one.items), key=_order)
        first = [_block(one, shared) for one in said if one.place == "first"]
        last = [_block(one, shared) for one in said if one.place == "last"]
        opening = [Block(SYSTEM, shared(SYSTEM, Share()), (messages[:begun],))] if begun else []
        then = Block(HISTORY, shared(HISTORY, history[1]), tuple(by_question(messages[begun:])))
        asked = Block(QUESTION, shared(QUESTION, Share()), ((question,),))
        return cls((*opening, *first, then, *last, asked), len(opening) + len(first), question.role)

    def laid(self, kept: Sequence[Sequence[int]] | None = None, cuts: Cuts | None = None) -> Laid:
        """The prompt. kept: the items of each block that are in it; without it, all are."""
        kept = kept or [range(len(block.items)) for block in self.blocks]
        cut, found = cuts or {}, list[tuple[Role, list[tuple[Spot, Part]]]]()
        for place, (block, items) in enumerate(zip(self.blocks, kept, strict=True)):
            if block.name in (SYSTEM, HISTORY):
                found += [(message.role, [*_cut(spots, cut)]) for message, spots in self._messages(place, items)]
                continue
            if place == self.history + 1 or not found:
                found.append((self.role if place > self.history else "system", []))
            before = "\n\n" if place < self.history and found[-1][1] else ""
            after = "\n\n" if self.history < place < len(self.blocks) - 1 else ""
            found[-1][1].extend(_cut(self._framed(place, items, before, after), cut))
        spots = tuple(tuple(spot for spot, _ in parts) for _, parts in found)
        messages = tuple(Message(role, tuple(part for _, part in parts)) for role, parts in found)
        whose = tuple(tuple(segment_of(part, self.blocks[spot[0]].name) for spot, part in parts) for _, parts in found)
        entries = self._entries(kept)
        ledger = Ledger((*entries[:-1], *media_entries(messages), *entries[-1:]), whose=whose)
        return Laid(Prompt(messages, ledger=ledger), spots)

    def _messages(self, place: int, items: Sequence[int]) -> Iterator[tuple[Message, list[tuple[Spot, Part]]]]:
        for item in items:
            number = 0
            for message in self.blocks[place].items[item]:
                yield message, [((place, item, number + more), part) for more, part in enumerate(message.parts)]
                number += len(message.parts)

    def _framed(self, place: int, items: Sequence[int], before: str, after: str) -> Iterator[tuple[Spot, Part]]:
        """The items of a segment, each on lines of its own, in its frame; nothing when there are none."""
        block = self.blocks[place]
        if not items:
            return
        if opening := before + block.opening:
            yield (place, None, 0), Text(opening)
        for item in items:
            if block.opening or item != items[0]:
                yield (place, item, -1), Text("\n")
            for number, part in enumerate(block.parts(item)):
                yield (place, item, number), part
        if closing := block.closing + after:
            yield (place, None, 1), Text(closing)

    def _entries(self, kept: Sequence[Sequence[int]]) -> tuple[Entry, ...]:
        """One for each name, in the order of the prompt."""
        found: dict[str, Entry] = {}
        for block, items in zip(self.blocks, kept, strict=True):
            if items:
                one = found.get(block.name, Entry(block.name, items=0))
                sources = (*one.sources, *(block.sources[item] for item in items if block.sources))
                known = tuple(dict.fromkeys(filter(None, sources)))
                scores = (score for item in items if block.scores and (score := block.scores[item]) is not None)
                size = one.items + sum(map(block.size, items))
                found[block.name] = replace(one, items=size, sources=known, scores=(*one.scores, *scores))
        return tuple(found.values())


def _cut(parts: Iterable[tuple[Spot, Part]], cuts: Cuts) -> Iterator[tuple[Spot, Part]]:
    for spot, part in parts:
        yield from ((spot, one) for one in cuts.get(spot, (part,)))


def _order(segment: Segment) -> int:
    return ORDER.index(segment.name) if segment.name in ORDER else len(ORDER)


def _block(segment: Segment, shared: Shared) -> Block:
    texts = [f"[{one.source}] {one.text}" if one.source else one.text for one in segment.items]
    fence = fence_of(segment.name, texts) if segment.data else ""
    opening = "\n".join(filter(None, (segment.heading, f"<{fence}>" if fence else "")))
    items = tuple((Message("user", (Text(text),)),) for text in texts)
    sources = tuple(one.source for one in segment.items)
    closing = f"\n</{fence}>" if fence else ""
    scores = tuple(one.score for one in segment.items)
    return Block(segment.name, shared(segment.name, segment.share), items, sources, scores, opening, closing)
