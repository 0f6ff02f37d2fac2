"""Allotting: who gives way, and how much, when a prompt has fewer tokens than would be said.

Numbers in, numbers out: nothing here knows texts, so that what is promised can be tried out on any numbers. What gives
way goes item by item and no further than it must, so the same numbers always leave the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from vllm_flow.core.segments import Share

LEAST_OF_A_CUT = 24
"""In tokens: of an item with less room nothing is kept, since most of it would be the mark that says so."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a segment would take, in tokens."""

    share: Share
    items: tuple[int, ...]
    frame: int = 0
    """Of what goes with the last item: heading and fence."""
    beside: tuple[int, ...] = ()
    """What the prompt has less beside, when the item goes: a template's tokens around a message. In no share."""
    oldest_first: bool = False
    """Whether `cut` begins with the first item, as of a history, and not with the last."""
    stays: bool = False
    """Whether its items may be cut, but never go, as of a question."""

    @property
    def first(self) -> int:
        """How many items at the beginning never go."""
        return min(self.share.first, len(self.items))


@dataclass(frozen=True, slots=True)
class Kept:
    """What a claim has been given."""

    start: int
    stop: int
    """The items from `start` up to `stop`, without it."""
    cut: tuple[int, int] | None = None
    """An item among them, and how many tokens it may have."""
    first: int = 0
    """How many items are kept beside them, at the beginning."""

    @property
    def items(self) -> tuple[int, ...]:
        return (*range(self.first), *range(self.start, self.stop))


def allot(claims: Sequence[Claim], fixed: int, budget: int) -> tuple[Kept, ...]:
    """What each claim keeps, in the order of the claims, which is that of the prompt.

    fixed: tokens that no claim accounts for. First each has at most its `most`. Then, while the sum is above the
    budget, they give way by priority, down to their `least`; and, when that does not do, below it. What is left may
    still be above the budget, or a `most`, where the shares let nothing more go: the caller has to look.
    """
    givers = [_Giver.of(claim) for claim in claims]
    for giver in givers:
        if giver.claim.share.most is not None:
            giver.give(giver.tokens - giver.claim.share.most, 0, beside=False)
    in_order = sorted(range(len(givers)), key=lambda place: (givers[place].claim.share.priority, -place))
    for above in (True, False):
        for place in in_order:
            excess = fixed + sum(one.tokens + one.beside for one in givers) - budget
            givers[place].give(excess, givers[place].claim.share.least if above else 0)
    return tuple(one.kept() for one in givers)


@dataclass
class _Giver:
    """A claim, while it gives way."""

    claim: Claim
    costs: list[int]
    start: int
    stop: int
    tokens: int
    """What it has, frame included."""
    cut: int | None = field(default=None)
    """Of which item only a part is left."""

    @classmethod
    def of(cls, claim: Claim) -> _Giver:
        tokens = sum(claim.items) + (claim.frame if claim.items else 0)
        return cls(claim, list(claim.items), claim.first, len(claim.items), tokens)

    @property
    def beside(self) -> int:
        beside, first = self.claim.beside, self.claim.first
        return sum(beside[:first]) + sum(beside[self.start : self.stop])

    def kept(self) -> Kept:
        first, place = self.claim.first, self.cut
        if self.start == self.stop:
            return Kept(first, first, first=first)
        cut = None if place is None or not self.start <= place < self.stop else (place, self.costs[place])
        return Kept(self.start, self.stop, cut, first)

    def give(self, excess: int, least: int, *, beside: bool = True) -> None:
        """Let go of so many tokens, or as many as can go. What is left is not less than `least`.

        beside: whether what goes beside the items counts, too.
        """
        share, claim = self.claim.share, self.claim
        while share.overflow != "error" and excess > 0 and self.start < self.stop:
            next_ = self._next()
            gone = sum(self.costs[next_.start : next_.stop])
            gone += claim.frame if len(next_) == self.stop - self.start and not claim.first else 0
            spare = self.tokens - least
            held = gone > spare or claim.stays
            if share.overflow == "cut":
                cost = self.costs[next_.start]
                room = max(cost - min(excess, spare), LEAST_OF_A_CUT if held else 0)
                if LEAST_OF_A_CUT <= room < cost:
                    self.costs[next_.start], self.cut = room, next_.start
                    self.tokens -= cost - room
                    return
            if held:
                return
            self.tokens -= gone
            excess -= gone + (sum(claim.beside[next_.start : next_.stop]) if beside else 0)
            self.start, self.stop = (next_.stop, self.stop) if next_.start == self.start else (self.start, next_.start)

    def _next(self) -> range:
        """The items that would go next."""
        share = self.claim.share
        if share.overflow == "all":
            return range(self.start, self.stop)
        if share.overflow == "oldest":
            first = self.claim.first
            steps = (self.start - first) // share.step + 1
            return range(self.start, min(self.stop, first + steps * share.step))
        if share.overflow == "cut" and self.claim.oldest_first:
            return range(self.start, self.start + 1)
        return range(self.stop - 1, self.stop)
