"""Items that arrive: the loop runs on while they are waited for, errors come through, nobody is waited for at the end."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from vllm_flow.core.arriving import AHEAD, arriving
from vllm_flow.core.errors import InputError


async def taken(items: Iterator[int], count: int | None = None) -> list[int]:
    found: list[int] = []
    async for item in arriving(items):
        found.append(item)
        if len(found) == count:
            break
    return found


def test_all_items_come_in_their_order() -> None:
    assert asyncio.run(taken(iter(range(1000)))) == list(range(1000))


def test_other_tasks_run_while_an_item_is_waited_for() -> None:
    written = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        assert written.wait(10)
        yield 2

    async def both() -> list[int]:
        found = []
        async for item in arriving(items()):
            found.append(item)
            asyncio.get_running_loop().call_soon(written.set)  # nobody sets it unless the loop goes on
        return found

    assert asyncio.run(both()) == [1, 2]


def test_what_the_iterator_raises_comes_after_what_it_gave() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise InputError("the pipe broke. Mend it.")

    found: list[int] = []

    async def gather() -> None:
        async for item in arriving(items()):
            found.append(item)

    with pytest.raises(InputError, match=r"^the pipe broke\. Mend it\.$"):
        asyncio.run(gather())
    assert found == [1]


def test_few_items_are_read_ahead_and_none_after_leaving() -> None:
    read = itertools.count()
    seen: list[int] = []

    def items() -> Iterator[int]:
        for item in read:
            seen.append(item)
            yield item

    assert asyncio.run(taken(items(), 5)) == [0, 1, 2, 3, 4]
    time.sleep(0.05)
    assert len(seen) <= AHEAD + 6
    assert [one.name for one in threading.enumerate() if one.name == "vllm-flow input"] == []


def test_leaving_does_not_wait_for_an_iterator_that_never_gives() -> None:
    forever = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        forever.wait(60)

    started = time.perf_counter()
    assert asyncio.run(taken(items(), 1)) == [1]
    assert time.perf_counter() - started < 5
    forever.set()
