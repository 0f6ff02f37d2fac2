"""Turns in flight, with answers that only count: order, both bounds, ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import pytest

from vllm_flow.core.flow import AHEAD, Flow, Item
from vllm_flow.core.messages import user
from vllm_flow.core.results import Result
from vllm_flow.core.values import BadRow, Turn


def turn(conversation: str, index: int) -> Turn:
    return Turn(conversation, user("x"), index=index)


async def answer(item: Item) -> Result:
    await asyncio.sleep(0)
    return Result(item if isinstance(item, Turn) else Turn(item.row, user(""), index=item.index))


async def indexes(flow: Flow, turns: object) -> list[int]:
    return [result.turn.index async for result in flow.run(turns)]  # type: ignore[arg-type]


def test_nothing_in_gives_nothing_out() -> None:
    assert asyncio.run(indexes(Flow(answer, 2), [])) == []


def test_a_conversation_keeps_its_order_while_others_pass_it() -> None:
    async def slow_for_a(item: Item) -> Result:
        await asyncio.sleep(0.02 if isinstance(item, Turn) and item.conversation == "a" else 0)
        return await answer(item)

    turns = [turn("a", 0), turn("a", 1), turn("b", 2), turn("a", 3), turn("b", 4)]
    assert asyncio.run(indexes(Flow(slow_for_a, 8), turns)) == [2, 4, 0, 1, 3]


def test_waiting_turns_of_one_conversation_do_not_take_the_places_of_others() -> None:
    """A file sorted by conversation, four turns each, still keeps both places busy."""
    running = most = 0

    async def counted(item: Item) -> Result:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return await answer(item)

    turns = [turn(f"c{i // 4}", i) for i in range(40)]
    assert sorted(asyncio.run(indexes(Flow(counted, 2), turns))) == list(range(40))
    assert most == 2


def test_a_reader_who_does_not_read_stops_the_input() -> None:
    read: list[int] = []

    def endless() -> Iterator[Turn]:
        for index in range(10_000):
            read.append(index)
            yield turn(f"c{index}", index)

    async def read_three_slowly() -> list[int]:
        seen = []
        async with aclosing(Flow(answer, 3).run(endless())) as results:
            for count in (1, 2, 3):
                await anext(results)
                for _ in range(200):  # everything else may run as far as it can
                    await asyncio.sleep(0)
                seen.append(len(read) - count)
        return seen

    assert asyncio.run(read_three_slowly()) == [3 * AHEAD + 1] * 3  # one more is in the hand that waits for room


def test_unreadable_rows_wait_for_nobody_and_are_never_one_conversation() -> None:
    rows: list[Item] = [BadRow(0, "f:1", "no."), turn("f:1", 1), BadRow(2, "f:1", "no.")]
    assert sorted(asyncio.run(indexes(Flow(answer, 8), rows))) == [0, 1, 2]


def test_an_error_of_the_input_ends_the_run_after_what_was_done() -> None:
    def broken() -> Iterator[Turn]:
        yield turn("a", 0)
        raise OSError("the file is gone")

    with pytest.raises(OSError, match=r"^the file is gone$"):
        asyncio.run(indexes(Flow(answer, 2), broken()))


def test_an_asynchronous_input_is_read_as_it_comes_and_closed_when_the_reader_leaves() -> None:
    closed = []

    async def talk() -> AsyncGenerator[Turn, None]:
        try:
            for index in range(100):
                await asyncio.sleep(0)
                yield turn("a", index)
        finally:
            closed.append(True)

    async def leave_after_one() -> int:
        async with aclosing(Flow(answer, 1).run(talk())) as results:
            first = await anext(results)
        assert closed == [True]
        return first.turn.index

    assert asyncio.run(leave_after_one()) == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), BaseExceptionGroup("g", [KeyboardInterrupt()])])
def test_what_is_no_ordinary_error_reaches_the_reader_instead_of_leaving_him_waiting(error: BaseException) -> None:
    async def fail(item: Item) -> Result:
        raise error

    async def read() -> None:
        await asyncio.wait_for(indexes(Flow(fail, 1), [turn("a", 0), turn("b", 1)]), timeout=5)

    with pytest.raises(type(error)):
        asyncio.run(read())


def test_leaving_cancels_what_is_in_flight_and_leaves_no_task_behind() -> None:
    cancelled = []

    async def endless(item: Item) -> Result:
        if item.index == 0:
            return await answer(item)
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(item.index)
            raise
        raise AssertionError

    async def leave() -> int:
        turns = [turn(f"c{index}", index) for index in range(5)]
        async with aclosing(Flow(endless, 4).run(turns)) as results:
            await anext(results)
            await asyncio.sleep(0.01)
        return len(asyncio.all_tasks())

    assert asyncio.run(leave()) == 1
    assert sorted(cancelled) == [1, 2, 3, 4]


@pytest.mark.parametrize("steps", range(5))
def test_leaving_before_a_task_has_begun_leaves_nothing_unawaited(steps: int) -> None:
    """A coroutine made but never awaited would be a warning, and a warning is an error here."""

    async def leave() -> None:
        results = Flow(answer, 50).run([turn(f"c{index}", index) for index in range(50)])
        waiting = asyncio.ensure_future(anext(results))
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)

    asyncio.run(leave())
