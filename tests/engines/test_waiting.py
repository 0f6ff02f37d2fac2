"""Waiting for the engine: bounded, fair, from several event loops, and never for ever."""

from __future__ import annotations

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.engines.looping import LONG, job
from vllm_flow.core.errors import EngineError
from vllm_flow.core.values import Request
from vllm_flow.engines.transformers.engine import TransformersEngine
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.engines.transformers.places import Places
from vllm_flow.models.spec import Architecture, Model
from vllm_flow.stages.infer import complete
from vllm_flow.testing import prompt, schedule

RANDOM = Model("random", architecture=Architecture(32, 2, 4, max_context=600))


def asked(place: int, tokens: int = 4) -> Request:
    return Request(prompt(f"question {place}"), schedule(max_tokens=tokens), seed=place)


def test_places_go_to_those_who_asked_first() -> None:
    async def go() -> list[int]:
        places, order = Places(2), []

        async def one(number: int) -> None:
            await places.take()
            order.append(number)

        tasks = [asyncio.create_task(one(number)) for number in range(6)]
        await asyncio.sleep(0)
        assert order == [0, 1]
        places.give(1)
        await asyncio.sleep(0.01)
        assert order == [0, 1, 2]
        tasks[3].cancel()
        places.give(2)
        await asyncio.gather(*tasks, return_exceptions=True)
        return order

    assert asyncio.run(go()) == [0, 1, 2, 4, 5]


def test_a_place_that_is_given_to_one_just_cancelled_goes_to_the_next() -> None:
    async def go() -> list[int]:
        places, order = Places(0), []

        async def one(number: int) -> None:
            await places.take()
            order.append(number)

        tasks = [asyncio.create_task(one(number)) for number in range(2)]
        await asyncio.sleep(0)
        places.give(1)  # to the first, which has not heard of it yet
        tasks[0].cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        return order

    assert asyncio.run(go()) == [1]


def test_no_place_is_lost_or_doubled_among_threads_and_cancellations() -> None:
    places, taken, most = Places(3), 0, 0
    door = threading.Lock()

    async def one(rng: random.Random) -> None:
        nonlocal taken, most
        await places.take()
        with door:
            taken += 1
            most = max(most, taken)
        try:
            await asyncio.sleep(rng.random() / 500)
        finally:
            with door:
                taken -= 1
            places.give(1)

    async def many(seed: int) -> None:
        rng = random.Random(seed)
        tasks = [asyncio.create_task(one(rng)) for _ in range(60)]
        for task in rng.sample(tasks, 25):
            await asyncio.sleep(rng.random() / 1000)
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda seed: asyncio.run(many(seed)), range(4)))
    assert (taken, most, places._free) == (0, 3, 3)


def test_who_sends_more_than_may_wait_is_answered_all_the_same_from_every_event_loop() -> None:
    engine = Transformers(RANDOM, max_rows=2, max_waiting=1).open()

    async def many(seed: int) -> list[Any]:
        tasks = [asyncio.create_task(complete(engine, asked(seed + place))) for place in range(12)]
        await asyncio.sleep(0.01)
        for task in tasks[8:11]:
            task.cancel()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda seed: asyncio.run(many(seed)), (100, 200, 300)))
    alone = asyncio.run(many(200))
    for place in (*range(8), 11):
        assert found[1][place] == alone[place]
        assert not isinstance(found[1][place], BaseException)
    engine.close()
    assert engine._places._free == 1


def test_no_more_than_may_wait_do() -> None:
    loaded = load(RANDOM)
    engine = TransformersEngine(lambda: loaded, Limits(rows=1, waiting=3))
    most = 0
    real = Loop.step

    def watching(self: Loop) -> Any:
        nonlocal most
        most = max(most, self.waiting + engine._arrivals.qsize())
        return real(self)

    async def go() -> int:
        return len(await asyncio.gather(*(complete(engine, asked(place, 3)) for place in range(20))))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "step", watching)
        assert asyncio.run(go()) == 20
    assert most == 3
    engine.close()


class Counting(asyncio.SelectorEventLoop):
    """An event loop that counts how often another thread has woken it."""

    woken = 0

    def call_soon_threadsafe(self, callback: Any, *given: Any, **how: Any) -> Any:
        self.woken += 1
        return super().call_soon_threadsafe(callback, *given, **how)


def test_a_step_wakes_each_event_loop_once_however_many_wait_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Transformers(RANDOM).open()
    made: list[int] = []
    real = Loop.step
    monkeypatch.setattr(Loop, "step", lambda self: (found := real(self), made.append(len(found)))[0])

    async def go() -> tuple[Any, int]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Counting)
        return await asyncio.gather(*(complete(engine, asked(place, 24)) for place in range(16))), loop.woken

    with asyncio.Runner(loop_factory=Counting) as runner:
        answers, woken = runner.run(go())
    engine.close()
    tokens = sum(len(answer.token_ids) for answer in answers)
    assert sum(made) == tokens
    assert woken == sum(1 for count in made if count)
    assert woken <= len(made) < tokens / 8


def test_closing_ends_the_wait_of_those_who_were_not_even_let_in() -> None:
    async def go() -> list[Any]:
        engine = Transformers(RANDOM, max_rows=1, max_waiting=1).open()
        tasks = [asyncio.create_task(complete(engine, asked(place, 500))) for place in range(6)]
        await asyncio.sleep(0.05)
        await asyncio.to_thread(engine.close)
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)

    assert {str(one) for one in asyncio.run(go())} == {
        "the engine was closed before the answer was complete. Open a new one."
    }
    assert {type(one) for one in asyncio.run(go())} == {EngineError}


def test_a_huge_request_is_neither_overtaken_nor_in_the_way_for_ever() -> None:
    loaded = load(RANDOM)
    loop = Loop(loaded, Limits(rows=8, kv_bytes=200 * loaded.network.bytes_per_token))
    small = [job(f"q{place}", place, tokens=20) for place in range(12)]
    huge = job(LONG, 99, tokens=300)  # more than there is room for, even alone
    begun: list[Any] = []
    for one in (*small[:6], huge, *small[6:]):
        loop.add(one)
    while not loop.idle:
        for one, item in loop.step():
            assert not isinstance(item, Exception)
            if one not in begun:
                begun.append(one)
    assert begun == [*small[:6], huge, *small[6:]]
    loaded.network.close()


def test_the_first_in_line_is_rendered_once_however_long_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(RANDOM)
    seen: list[Any] = []
    real = type(loaded.renderer).ids
    monkeypatch.setattr(type(loaded.renderer), "ids", lambda self, *given: (seen.append(given), real(self, *given))[1])
    loop = Loop(loaded, Limits(kv_bytes=1))
    for place in range(3):
        loop.add(job(f"question {place}", place, tokens=5))
    while not loop.idle:
        loop.step()
    assert len(seen) == 3
    loaded.network.close()


def test_the_first_in_line_leaves_nothing_when_it_is_cancelled() -> None:
    loaded = load(RANDOM)
    loop = Loop(loaded, Limits(kv_bytes=1))
    jobs = [job(f"question {place}", place, tokens=5) for place in range(2)]
    for one in jobs:
        loop.add(one)
    loop.step()
    assert loop._first is not None
    jobs[0].cancelled = jobs[1].cancelled = True
    assert loop.step() == []
    assert (loop._first, loop.waiting, loop._in_flight(), loop.idle) == (None, 0, [], True)
    loaded.network.close()
