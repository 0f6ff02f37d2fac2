"""A layered layout: rank by longest path, order by barycentre, places by least squares (after Sugiyama et al., 1981).

A wire that passes ranks gets a slot of its own in each, shared by all readers of that value, so that it never runs
through a box. Nothing here is random: the same boxes and wires give the same places.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

SWEEPS, SMOOTHINGS = 12, 60
GAP, SLOT, BETWEEN_RANKS = 26.0, 10.0, 54.0
"""Between neighbours of a rank, width of a passing wire, between ranks; in pixels."""
Slot = tuple[str, int]
"""A value at a rank: the box itself at its own, its wire in passing at those below."""


@dataclass(frozen=True, slots=True)
class Box:
    name: str
    width: float
    height: float
    sources: tuple[str, ...]
    """What it reads; each has its box before this one."""


@dataclass(frozen=True, slots=True)
class Layout:
    ranks: Mapping[str, int]
    centres: Mapping[Slot, float]
    tops: tuple[float, ...]
    """Of each rank."""
    bottoms: tuple[float, ...]
    width: float

    def way(self, source: str, target: str) -> list[Slot]:
        """The slots from a box down to the one before the box that reads it."""
        return [(source, rank) for rank in range(self.ranks[source], self.ranks[target])]


def laid_out(boxes: Sequence[Box]) -> Layout:
    ranks = _ranks(boxes)
    widths: dict[Slot, float] = {(box.name, ranks[box.name]): box.width for box in boxes}
    edges = set()
    for box in boxes:
        for source in box.sources:
            for rank in range(ranks[source], ranks[box.name] - 1):
                widths.setdefault((source, rank + 1), SLOT)
                edges.add(((source, rank), (source, rank + 1)))
            edges.add(((source, ranks[box.name] - 1), (box.name, ranks[box.name])))
    rows: list[list[Slot]] = [[] for _ in range(max(ranks.values()) + 1)]
    for slot in widths:
        rows[slot[1]].append(slot)
    above, below = defaultdict(list), defaultdict(list)
    for upper, lower in sorted(edges):
        above[lower].append(upper)
        below[upper].append(lower)
    rows = _ordered(rows, above, below)
    centres = _centres(rows, widths, {slot: [*above[slot], *below[slot]] for slot in widths})
    left = min(centres[slot] - widths[slot] / 2 for slot in centres)
    right = max(centres[slot] + widths[slot] / 2 for slot in centres)
    heights = [max(box.height for box in boxes if ranks[box.name] == rank) for rank in range(len(rows))]
    tops = tuple(sum(heights[:rank]) + BETWEEN_RANKS * rank for rank in range(len(rows)))
    bottoms = tuple(top + height for top, height in zip(tops, heights, strict=True))
    return Layout(ranks, {slot: at - left for slot, at in centres.items()}, tops, bottoms, right - left)


def _ranks(boxes: Sequence[Box]) -> dict[str, int]:
    """Longest path from above; what reads nothing stands right above its first reader."""
    ranks: dict[str, int] = {}
    for box in boxes:
        ranks[box.name] = 1 + max((ranks[source] for source in box.sources), default=-1)
    for box in boxes:
        if not box.sources:
            ranks[box.name] = min((ranks[one.name] for one in boxes if box.name in one.sources), default=1) - 1
    return ranks


Neighbours = Mapping[Slot, Sequence[Slot]]


def _ordered(rows: list[list[Slot]], above: Neighbours, below: Neighbours) -> list[list[Slot]]:
    best, fewest = rows, _crossings(rows, below)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        rows = [list(row) for row in rows]
        for rank in range(len(rows)) if down else reversed(range(len(rows))):
            neighbours = above if down else below
            beside = rank - 1 if down else rank + 1
            places = {slot: place for place, slot in enumerate(rows[beside])} if 0 <= beside < len(rows) else {}
            rows[rank] = _by_barycentre(rows[rank], neighbours, places)
        if (crossings := _crossings(rows, below)) < fewest:
            best, fewest = rows, crossings
    return best


def _by_barycentre(row: list[Slot], neighbours: Neighbours, places: Mapping[Slot, int]) -> list[Slot]:
    """What has no neighbours there keeps its place among the others."""

    def key(slot: Slot) -> float:
        found = [places[one] for one in neighbours.get(slot, ()) if one in places]
        return sum(found) / len(found) if found else row.index(slot) * len(places) / len(row)

    return sorted(row, key=key)


def _crossings(rows: Sequence[Sequence[Slot]], below: Neighbours) -> int:
    count = 0
    for upper, lower in itertools.pairwise(rows):
        places = {slot: place for place, slot in enumerate(lower)}
        ends = [sorted(places[one] for one in below.get(slot, ())) for slot in upper]
        for number, first in enumerate(ends):
            count += sum(one > other for one in first for later in ends[number + 1 :] for other in later)
    return count


def _centres(rows: list[list[Slot]], widths: Mapping[Slot, float], neighbours: Neighbours) -> dict[Slot, float]:
    """Each slot as near to its neighbours as its order and width allow."""
    centres: dict[Slot, float] = dict.fromkeys(widths, 0.0)
    for sweep in range(SMOOTHINGS):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            wishes = [[centres[one] for one in neighbours[slot] or [slot]] for slot in row]
            centres.update(zip(row, _packed(wishes, [widths[slot] for slot in row]), strict=True))
    return centres


def _packed(wishes: Sequence[list[float]], widths: Sequence[float]) -> Iterator[float]:
    """The places of a row that are nearest to what each wishes, in least squares, with neighbours at their distance.

    With the distances taken off this is isotonic regression: pool neighbours that want to pass each other.
    """
    offsets = [0.0]
    for left, right in itertools.pairwise(widths):
        offsets.append(offsets[-1] + (left + right) / 2 + GAP)
    pools: list[tuple[list[float], int]] = []
    for wished, offset in zip(wishes, offsets, strict=True):
        pools.append(([place - offset for place in wished], 1))
        while len(pools) > 1 and _mean(pools[-2][0]) > _mean(pools[-1][0]):
            last, size = pools.pop()
            others, number = pools.pop()
            pools.append((others + last, number + size))
    places = [_mean(pool) for pool, size in pools for _ in range(size)]
    return (place + offset for place, offset in zip(places, offsets, strict=True))


def _mean(places: Sequence[float]) -> float:
    return sum(places) / len(places)
