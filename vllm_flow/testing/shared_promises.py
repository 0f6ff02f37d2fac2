"""What two stores promise that are open on the same conversations, as two processes have them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from vllm_flow.core.errors import TurnConflict
from vllm_flow.core.resources import Store
from vllm_flow.testing.compare import refused, same
from vllm_flow.testing.talk import YES, answered, asked

MANY = 12
"""Turns that each writes."""
TRIES = 1000


def write(store: Store, conversation: str, text: str) -> int:
    """Say it at the next free number, as somebody does who is not alone. Returns the number."""
    for _ in range(TRIES):
        number = store.next_number(conversation)
        turn = asked(number, text, conversation)
        try:
            store.begin(turn)
        except TurnConflict:
            continue
        store.commit(turn, replace(YES, text=f"{text}: yes"), {"last": text})
        return number
    raise AssertionError(f"{TRIES} numbers of {conversation} in a row were taken. next_number should give a free one.")


def texts(store: Store, conversation: str) -> dict[int, str]:
    """What was said, by number; what was answered must fit it."""
    told = {}
    for stored in store.turns(conversation):
        reply = stored.reply.text if stored.reply else None
        same(f"reply to {stored.turn.text!r} in {conversation}", reply, f"{stored.turn.text}: yes")
        told[stored.turn.number or 0] = stored.turn.text
    return told


def threads_may_share_a_store(store: Store) -> None:
    """A promise of one store: servers have threads."""

    def many(name: str) -> dict[int, str]:
        return {write(store, name, f"{name} {place}"): f"{name} {place}" for place in range(MANY)}

    with ThreadPoolExecutor(2) as pool:
        for name, told in zip(("ann", "bob"), pool.map(many, ("ann", "bob")), strict=True):
            same(f"turns of {name}", texts(store, name), told)


def what_one_writes_the_other_reads(one: Store, two: Store) -> None:
    same("turns of the other, before", two.turns("ann"), ())
    same("state of the other, before", two.state("ann"), {})
    for number in (1, 2):
        answered(one, number, f"question {number}", n=number)
        same("turns of the other", two.turns("ann"), one.turns("ann"))
        same("state of the other", two.state("ann"), {"n": number})
        same("next_number of the other", two.next_number("ann"), number + 1)
    same("undo by the other", two.undo("ann"), asked(2, "question 2").message)
    same("turns after the other's undo", len(one.turns("ann")), 1)
    same("state after the other's undo", one.state("ann"), {"n": 1})


def a_number_is_taken_by_one_of_them(one: Store, two: Store) -> None:
    number = one.next_number("ann")
    same("next_number of the other", two.next_number("ann"), number)
    one.begin(asked(number, "first"))
    with refused("begin of a number that the other has just taken", TurnConflict):
        two.begin(asked(number, "second"))
    same("what the first was given", one.begin(asked(number, "first")).turn.text, "first")


def two_at_once_lose_mix_and_double_nothing(one: Store, two: Store) -> None:
    def many(store: Store, label: str) -> dict[int, str]:
        return {write(store, "both", f"{label} {place}"): f"{label} {place}" for place in range(MANY)}

    with ThreadPoolExecutor(2) as pool:
        told, others = pool.map(many, (one, two), "ab")
    same("numbers", sorted(texts(one, "both")), list(range(1, 2 * MANY + 1)))
    same("turns", texts(one, "both"), told | others)
    last = texts(one, "both")[2 * MANY]
    same("state", one.state("both"), {"last": last})


def what_was_acknowledged_outlives_its_writer(one: Store, two: Store) -> None:
    answered(one, 1, "first", n=1)
    one.close()
    same("turns", texts(two, "ann"), {1: "first"})
    same("state", two.state("ann"), {"n": 1})


SHARED_PROMISES = (
    what_one_writes_the_other_reads,
    a_number_is_taken_by_one_of_them,
    two_at_once_lose_mix_and_double_nothing,
    what_was_acknowledged_outlives_its_writer,
)
