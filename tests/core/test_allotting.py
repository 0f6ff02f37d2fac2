"""Who gives way: what is promised of any numbers, tried out on thousands of them, and the order by name on a few."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

import pytest

from vllm_flow.core.allotting import LEAST_OF_A_CUT, Claim, Kept, allot
from vllm_flow.core.segments import Share

TRIALS = 1500


def some_claims(random: Random) -> list[Claim]:
    def share() -> Share:
        return Share(
            most=random.choice([None, None, random.randint(0, 300)]),
            least=random.choice([0, 0, random.randint(1, 200)]),
            priority=random.randint(-2, 2),
            overflow=random.choice(["error", "oldest", "last", "all", "cut"]),
            step=random.choice([1, 1, 3]),
            first=random.choice([0, 0, 1, 3]),
        )

    def claim() -> Claim:
        items = tuple(random.randint(0, 120) for _ in range(random.randint(0, 8)))
        beside = tuple(random.randint(0, 6) for _ in items) if random.random() < 0.3 else ()
        return Claim(share(), items, random.randint(0, 10), beside, oldest_first=random.random() < 0.3)

    return [claim() for _ in range(random.randint(1, 7))]


def takes(claim: Claim, kept: Kept) -> int:
    """Of its own share."""
    items = [kept.cut[1] if kept.cut and kept.cut[0] == item else claim.items[item] for item in kept.items]
    return sum(items) + (claim.frame if items else 0)


def total(claims: Sequence[Claim], kept: Sequence[Kept], fixed: int) -> int:
    both = zip(claims, kept, strict=True)
    beside = sum(claim.beside[item] for claim, one in both if claim.beside for item in one.items)
    return fixed + beside + sum(takes(*pair) for pair in zip(claims, kept, strict=True))


def can_give(claim: Claim, kept: Kept, least: int) -> bool:
    """Whether it could give one token more and keep this much."""
    if claim.share.overflow == "error" or kept.start == kept.stop:
        return False
    own, first = takes(claim, kept), claim.first
    if claim.share.overflow == "all":
        return own - sum(claim.items[first:]) - (0 if first else claim.frame) >= least
    if claim.share.overflow == "oldest":
        stop = min(kept.stop, first + ((kept.start - first) // claim.share.step + 1) * claim.share.step)
        goes = sum(claim.items[kept.start : stop]) + (claim.frame if stop == kept.stop and not first else 0)
        return own - goes >= least
    item = kept.start if claim.share.overflow == "cut" and claim.oldest_first else kept.stop - 1
    cost = kept.cut[1] if kept.cut and kept.cut[0] == item else claim.items[item]
    goes = cost + (claim.frame if kept.stop - kept.start == 1 and not first else 0)
    cut = claim.share.overflow == "cut" and own - 1 >= least and cost - 1 >= LEAST_OF_A_CUT
    return cut or own - goes >= least


@cache
def trials() -> list[tuple[list[Claim], int, int, tuple[Kept, ...]]]:
    found = []
    for seed in range(TRIALS):
        random = Random(seed)
        claims, fixed = some_claims(random), random.randint(0, 60)
        whole = fixed + sum(sum(one.items) + one.frame + sum(one.beside) for one in claims)
        budget = random.randint(0, whole + 20)
        found.append((claims, fixed, budget, allot(claims, fixed, budget)))
    return found


def test_the_sum_is_above_the_budget_only_when_nothing_more_may_go() -> None:
    above = 0
    for claims, fixed, budget, kept in trials():
        if total(claims, kept, fixed) > budget:
            above += 1
            assert not any(can_give(claim, one, 0) for claim, one in zip(claims, kept, strict=True))
    assert 0 < above < TRIALS


def test_the_least_is_kept_while_another_can_give_way() -> None:
    below = 0
    for claims, fixed, budget, kept in trials():
        del fixed, budget
        for claim, one in zip(claims, kept, strict=True):
            had = sum(claim.items) + (claim.frame if claim.items else 0)
            most = had if claim.share.most is None else claim.share.most
            if takes(claim, one) < min(claim.share.least, had, most) and claim.share.most is None:
                below += 1
                others = [pair for pair in zip(claims, kept, strict=True) if pair != (claim, one)]
                assert not any(can_give(other, its, other.share.least) for other, its in others)
    assert below > 50


def test_no_share_is_above_its_most_unless_it_may_not_give_way() -> None:
    for claims, _, _, kept in trials():
        for claim, one in zip(claims, kept, strict=True):
            if claim.share.most is not None and takes(claim, one) > claim.share.most:
                assert claim.share.overflow == "error" or kept_first_alone(claim, one)


def kept_first_alone(claim: Claim, kept: Kept) -> bool:
    return claim.first > 0 and kept.items == tuple(range(claim.first))


def test_the_first_items_never_go_and_are_never_cut() -> None:
    alone = 0
    for claims, _, _, kept in trials():
        for claim, one in zip(claims, kept, strict=True):
            assert one.items[: claim.first] == tuple(range(claim.first))
            assert one.cut is None or one.cut[0] >= claim.first
            alone += kept_first_alone(claim, one) and claim.first < len(claim.items)
    assert alone > 50


def test_who_has_the_higher_priority_gives_only_when_the_lower_has_given_what_it_may() -> None:
    for claims, fixed, budget, kept in trials():
        alone = allot(claims, fixed, 10**9)
        gave = [takes(claim, one) < takes(claim, its) for claim, one, its in zip(claims, kept, alone, strict=True)]
        if total(claims, kept, fixed) > budget:
            continue
        for place, claim in enumerate(claims):
            before = [other for other in range(len(claims)) if _first(claims, other, place)]
            if gave[place]:
                assert not any(can_give(claims[other], kept[other], claims[other].share.least) for other in before), (
                    claim
                )


def _first(claims: Sequence[Claim], one: int, other: int) -> bool:
    return (claims[one].share.priority, -one) < (claims[other].share.priority, -other)


def test_equal_numbers_leave_the_same() -> None:
    for claims, fixed, budget, kept in trials():
        assert allot(claims, fixed, budget) == kept
        assert all(0 <= one.start <= one.stop <= len(claim.items) for claim, one in zip(claims, kept, strict=True))


def left(overflow: Any, items: tuple[int, ...], budget: int, *, oldest_first: bool = False, **share: Any) -> Kept:
    (kept,) = allot([Claim(Share(overflow=overflow, **share), items, oldest_first=oldest_first)], 0, budget)
    return kept


@pytest.mark.parametrize(
    ("overflow", "kept"),
    [
        ("error", Kept(0, 3)),
        ("oldest", Kept(1, 3)),
        ("last", Kept(0, 2)),
        ("all", Kept(0, 0)),
        ("cut", Kept(0, 3, (2, 60))),
    ],
)
def test_what_goes_is_as_the_share_says(overflow: str, kept: Kept) -> None:
    assert left(overflow, (100, 100, 100), 260) == kept


def test_a_history_gives_way_in_steps_so_that_its_beginning_stays_for_a_while() -> None:
    starts = [left("oldest", (10,) * turns, 100, step=4).start for turns in range(9, 24)]
    assert starts == [0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12, 16]


@pytest.mark.parametrize(
    ("overflow", "items"),
    [("oldest", (0, 1, 4)), ("last", (0, 1, 2)), ("all", (0, 1)), ("error", (0, 1, 2, 3, 4))],
)
def test_what_stays_first_stays_whichever_way_the_others_go(overflow: str, items: tuple[int, ...]) -> None:
    assert left(overflow, (100,) * 5, 300, first=2).items == items
    assert left(overflow, (100,) * 5, 0, first=2).items == (items if overflow == "error" else (0, 1))
    assert left(overflow, (100,), 0, first=2).items == (0,)


def test_steps_are_counted_from_behind_what_stays_first() -> None:
    found = [left("oldest", (10,) * turns, 70, first=2, step=4).items[2] for turns in (7, 8, 11, 12)]
    assert found == [2, 6, 6, 10]


def test_a_cut_of_a_history_is_of_its_oldest() -> None:
    assert left("cut", (100, 100, 100), 130, oldest_first=True) == Kept(1, 3, (1, 30))


def test_an_item_with_hardly_any_room_goes_whole() -> None:
    assert left("cut", (100, 100), 100 + LEAST_OF_A_CUT) == Kept(0, 2, (1, LEAST_OF_A_CUT))
    assert left("cut", (100, 100), 99 + LEAST_OF_A_CUT) == Kept(0, 1)


def test_nothing_goes_that_need_not() -> None:
    assert left("oldest", (100, 100, 100), 300) == Kept(0, 3)
    assert left("last", (100, 1, 100), 200) == Kept(0, 2)


def test_of_equal_priority_what_stands_later_gives_way_first() -> None:
    claims = [Claim(Share(overflow="last"), (50, 50)), Claim(Share(overflow="last"), (50, 50))]
    assert allot(claims, 0, 150) == (Kept(0, 2), Kept(0, 1))
    claims[0] = Claim(Share(overflow="last", priority=-1), (50, 50))
    assert allot(claims, 0, 150) == (Kept(0, 1), Kept(0, 2))


def test_what_goes_beside_an_item_counts_for_the_budget_and_for_no_share() -> None:
    claim = Claim(Share(overflow="oldest", least=100), (50, 50, 50), beside=(10, 10, 10))
    assert allot([claim], 0, 125) == (Kept(1, 3),)
    claim = Claim(Share(overflow="oldest", most=150), (50, 50, 50), beside=(10, 10, 10))
    assert allot([claim], 0, 1000) == (Kept(0, 3),)
