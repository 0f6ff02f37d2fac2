"""The runner where things go wrong: stages that raise oddly, observers, resources and stores that fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import pytest

from tests import fakes
from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import EngineError
from vllm_flow.core.events import Event, Inferred, NodeDone, TokenMade, TurnDone, TurnStarted
from vllm_flow.core.flow import Item
from vllm_flow.core.messages import Text, user
from vllm_flow.core.results import Failure, Result
from vllm_flow.core.runner import Runner
from vllm_flow.core.seeds import derive_seed
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Turn

DIALOGUE = {
    "context": {"use": "context/full"},
    "prompt": {"use": "fuse/chat"},
    "schedule": {"use": "schedule/sampling"},
    "reply": {"use": "infer/generate"},
    "remember": {"use": "context/update"},
}
FAKE = {"engine": {"use": "fake/engine"}, "store": {"use": "store/memory"}}
TEXT = {"text": {"use": "fake/text"}}


def spec(graph: Mapping[str, Any] = DIALOGUE, output: str = "reply", **own: Any) -> RunSpec:
    return RunSpec("test", graph, output, **{"resources": FAKE, **own})


def play(run: RunSpec, given: list[Any], *observers: Any) -> list[Result]:
    async def all_of_them() -> list[Result]:
        return [result async for result in Runner(run, observers=observers).run(given)]

    async def in_time() -> list[Result]:
        return await asyncio.wait_for(all_of_them(), timeout=10)

    return asyncio.run(in_time())


def says(*texts: str) -> list[Turn]:
    return [Turn(f"c{place}", user(text), index=place) for place, text in enumerate(texts)]


@pytest.fixture(autouse=True)
def _fresh() -> None:
    fakes.fresh_log()


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("boom", "ValueError", "graph.text (fake/text): ValueError: boom"),
        ("silent", "TimeoutError", "graph.text (fake/text): TimeoutError"),
        ("lines", "ValueError", "graph.text (fake/text): ValueError: one two"),
        ("stop", "RuntimeError", "graph.text (fake/text): RuntimeError: coroutine raised StopIteration"),
        ("cancel", "CancelledError", "graph.text (fake/text): CancelledError"),
    ],
)
def test_whatever_a_stage_raises_is_one_line_that_names_the_node(text: str, kind: str, message: str) -> None:
    results = play(spec(TEXT, "text", concurrency=1), says(text, "fine"))
    assert [(one.value, one.failure) for one in results] == [
        (None, Failure("text", kind, message)),
        (Text("fine"), None),
    ]


def test_a_group_with_an_interrupt_in_it_ends_the_run() -> None:
    with pytest.raises(BaseExceptionGroup, match="many"):
        play(spec(TEXT, "text", concurrency=1), says("group", "fine"))


def test_stop_iteration_in_a_thread_fails_the_turn_and_does_not_hang_it() -> None:
    (result,) = play(spec({"text": {"use": "fake/slow", "seconds": 0}}, "text"), says("stop"))
    assert result.failure == Failure(
        "text", "RuntimeError", "graph.text (fake/slow): RuntimeError: the stage raised StopIteration"
    )


def test_of_items_mapped_at_once_the_failing_one_is_named() -> None:
    graph = {
        "prompts": {"use": "fake/split"},
        "schedule": {"use": "schedule/sampling"},
        "candidates": {"use": "infer/generate", "each": "prompt", "from": {"prompt": "prompts"}},
        "scores": {"use": "fake/length", "each": "completion", "from": {"completion": "candidates"}},
        "reply": {"use": "select/best"},
    }
    started = time.perf_counter()
    (result,) = play(spec(graph), says("good bad fine"))
    assert time.perf_counter() - started < 0.12  # 0.05 s each, three at once
    assert result.failure == Failure("scores[1]", "ValueError", "graph.scores[1] (fake/length): ValueError: a bad one")


def test_a_failure_inside_a_nested_pipeline_is_told_once_with_its_whole_path() -> None:
    solve = {"graph": {name: DIALOGUE[name] for name in ("schedule", "reply")}, "output": "reply"}
    graph = {
        "prompts": {"use": "fake/split"},
        "candidates": {"use": "pipeline/solve", "each": "prompt", "from": {"prompt": "prompts"}},
        "reply": {"use": "select/vote"},
    }
    (result,) = play(spec(graph, pipelines={"solve": solve}), says("good fail"))
    assert result.failure == Failure(
        "candidates[1]/reply",
        "EngineError",
        "graph.candidates[1]/reply (infer/generate): the engine refuses this. Ask something else.",
    )
    assert {request.seed for request in fakes.LOG.requests} == {
        derive_seed(0, "c0", 1, f"candidates[{place}]/reply", 0) for place in (0, 1)
    }


def test_a_value_that_only_decides_is_handed_into_a_nested_pipeline() -> None:
    inner = {"graph": {"text": {"use": "fake/text", "when": "wanted"}}, "output": "text"}
    graph = {"asked": {"use": "fake/asks"}, "text": {"use": "pipeline/inner", "from": {"wanted": "asked"}}}
    results = play(spec(graph, "text", pipelines={"inner": inner}, concurrency=1), says("really?", "really."))
    assert [one.value for one in results] == [Text("really?"), None]


def test_a_resource_that_only_decides_is_opened() -> None:
    graph = {"text": {"use": "fake/text", "when": "bell"}}
    (result,) = play(spec(graph, "text", resources={"bell": {"use": "fake/bell"}}), says("hi"))
    assert result.value == Text("hi")
    assert (fakes.LOG.opened, fakes.LOG.closed) == (["bell"], ["bell"])


@pytest.mark.parametrize("kind", [TurnStarted, TokenMade, Inferred, NodeDone, TurnDone])
def test_an_observers_error_ends_the_run_and_is_blamed_on_no_stage(kind: type) -> None:
    def closed_pipe(event: Event) -> None:
        if isinstance(event, kind):
            raise BrokenPipeError("nobody reads this")

    with pytest.raises(BrokenPipeError, match=r"^nobody reads this$"):
        play(spec(), says("one", "two"), closed_pipe)
    assert fakes.LOG.closed == ["fake"]
    assert fakes.LOG.in_flight == 0


def test_a_runner_whose_engine_did_not_open_can_be_tried_again() -> None:
    wanted = spec(resources={**FAKE, "engine": {"use": "fake/engine", "fails_to_open": True}})

    async def twice() -> list[str]:
        runner, told = Runner(wanted), []
        for _ in range(2):
            with pytest.raises(EngineError) as caught:
                async with runner:
                    raise AssertionError
            told.append(str(caught.value))
        return told

    assert asyncio.run(twice()) == ["fake: no such weights. Choose another model."] * 2


def test_an_observer_that_fails_at_opening_leaves_nothing_open() -> None:
    def refuse(event: Event) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        play(spec(), says("one"), refuse)
    assert (fakes.LOG.opened, fakes.LOG.closed) == (["fake"], ["fake"])


def test_everything_is_closed_even_when_one_resource_cannot_be() -> None:
    graph = {
        "first": {"use": "fake/ring"},
        "second": {"use": "fake/ring", "from": {"bell": "other"}},
        "text": {"use": "fake/join"},
    }
    bells = {"bell": {"use": "fake/bell"}, "other": {"use": "fake/bell", "name": "other", "fails_to_close": True}}
    with pytest.raises(OSError, match="the bell is stuck"):
        play(spec(graph, "text", resources=bells), says("hi"))
    assert fakes.LOG.closed == ["other", "bell"]


def test_engines_close_all_the_last_opened_first_even_when_one_cannot_be() -> None:
    engines = Engines()
    for name, stuck in (("a", False), ("b", True), ("c", False)):
        engines.open(fakes.FakeOptions(name=name, fails_to_close=stuck))
    with pytest.raises(EngineError) as caught:
        engines.close()
    assert str(caught.value) == "b: cannot be closed. Pull the plug."
    assert fakes.LOG.closed == ["c", "b", "a"]
    engines.close()
    assert fakes.LOG.closed == ["c", "b", "a"]


def test_engines_compare_options_that_have_no_hash() -> None:
    with Engines() as engines:
        first = engines.open(fakes.FakeOptions(honours=["temperature"]))  # type: ignore[arg-type]
        assert engines.open(fakes.FakeOptions(honours=["temperature"])) is first  # type: ignore[arg-type]
        assert engines.open(fakes.FakeOptions(honours=["top_p"])) is not first  # type: ignore[arg-type]


def test_a_store_that_fails_fails_the_turn_and_not_the_run() -> None:
    results = play(spec(resources={**FAKE, "store": {"use": "fake/store"}}, concurrency=1), says("one", "two"))
    assert results[0].failure == Failure("", "StoreError", "fake: the disk is full. Free some space.")
    assert results[1].value.text == "two "


def test_an_interrupted_answer_that_cannot_be_stored_is_said_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def interrupt() -> None:
        async with Runner(spec(resources={**FAKE, "store": {"use": "fake/store"}})) as runner:
            task = asyncio.ensure_future(runner.answer(Turn("a", user("please wait"))))
            while not fakes.LOG.in_flight:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(interrupt())
    assert [record.getMessage() for record in caplog.records if record.name == "vllm_flow"] == [
        "turn 1 of a: what had been said is not stored: fake: the disk is full. Free some space."
    ]


def test_a_number_taken_by_another_message_is_a_failure_of_that_turn() -> None:
    turns = [Turn("a", user("one"), number=1), Turn("a", user("other"), number=1, index=1)]
    _, second = play(spec(), turns)
    assert second.failure == Failure(
        "",
        "TurnConflict",
        "conversation 'a', turn 1: it is stored with another message. Use a free number, or undo that turn.",
    )


def test_a_turn_delivered_again_never_shows_what_a_guard_replaced() -> None:
    """The graph stores the raw reply, so the stored reply is not what the user was told."""
    graph = {**DIALOGUE, "checked": {"use": "fake/guard"}}

    async def twice() -> list[Result]:
        async with Runner(spec(graph, "checked")) as runner:
            return [one for _ in range(2) async for one in runner.run([Turn("a", user("a secret"), number=1)])]

    first, second = asyncio.run(twice())
    assert (first.value.text, second.value.text) == ("[checked]", "[checked]")
    assert second.stored is False


def test_an_interruption_ends_soon_closes_the_stream_and_leaves_no_task() -> None:
    async def interrupt() -> tuple[float, int]:
        runner = Runner(spec())
        async with aclosing(runner.run(says("please wait forever", "and wait too"))) as results:
            waiting = asyncio.ensure_future(anext(results))
            while fakes.LOG.in_flight < 2:
                await asyncio.sleep(0.001)
            started = time.perf_counter()
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        return time.perf_counter() - started, len(asyncio.all_tasks())

    seconds, tasks = asyncio.run(interrupt())
    assert seconds < 1
    assert tasks == 1
    assert (fakes.LOG.in_flight, fakes.LOG.closed_streams, fakes.LOG.closed) == (0, 2, ["fake"])


def test_an_interrupted_answer_delivered_again_is_made_again() -> None:
    turn = Turn("a", user("please wait"), number=1)

    async def interrupt(runner: Runner, requests: int) -> None:
        task = asyncio.ensure_future(runner.answer(turn))
        while len(fakes.LOG.requests) < requests:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def twice() -> None:
        async with Runner(spec()) as runner:
            for requests in (1, 2):
                await interrupt(runner, requests)
                assert runner.opened("store").turns("a")[0].reply.text == "please wait "

    asyncio.run(twice())


def test_what_is_opened_outside_an_event_loop_serves_the_runs_inside() -> None:
    async def texts(runner: Runner, text: str) -> list[str]:
        return [one.value.text async for one in runner.run(says(text))]

    with Runner(spec()) as runner:
        assert [asyncio.run(texts(runner, "one")), asyncio.run(texts(runner, "two"))] == [["one "], ["two "]]
        assert (fakes.LOG.opened, fakes.LOG.closed) == (["fake"], [])
    assert fakes.LOG.closed == ["fake"]


def test_two_runs_of_one_runner_at_once_share_its_resources() -> None:
    async def both() -> list[str]:
        runner = Runner(spec())

        async def one(text: str) -> list[str]:
            return [result.value.text async for result in runner.run([Turn(text, user(text))])]

        first, second = await asyncio.gather(one("left"), one("right"))
        return first + second

    assert asyncio.run(both()) == ["left ", "right "]
    assert (fakes.LOG.opened, fakes.LOG.closed) == (["fake"], ["fake"])


def test_a_runner_that_counts_turns_itself_starts_anew_with_each_run() -> None:
    """Else the second run of the same request would draw other noise than the first."""

    async def twice() -> list[int | None]:
        runner = Runner(spec(TEXT, "text"))
        given: list[Item] = [Turn("a", user("one")), Turn("a", user("two"), number=7), Turn("a", user("three"))]
        return [one.turn.number for _ in range(2) async for one in runner.run(given)]

    assert asyncio.run(twice()) == [1, 7, 8, 1, 7, 8]


def test_the_seed_of_a_retry_does_not_depend_on_how_many_answers_are_asked_for() -> None:
    graph = {**DIALOGUE, "candidates": {"use": "infer/sample"}, "reply": {"use": "select/vote"}}
    seeds = []
    for n in (2, 3):
        fakes.fresh_log()
        engine = {"use": "fake/engine", "honours": ["n"]}
        turn = Turn("a", user("x"), number=1, sample=1)
        play(spec(graph, sampling={"n": n}, resources={**FAKE, "engine": engine}), [turn])
        seeds.append([request.seed for request in fakes.LOG.requests])
    assert seeds[0] == seeds[1][:2]
    assert len(set(seeds[1])) == 3


def test_blocking_stages_share_a_bounded_pool_and_leave_the_loop_free() -> None:
    graph = {"text": {"use": "fake/slow", "seconds": 0.03}}
    beats = 0

    async def run_and_beat() -> None:
        nonlocal beats

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0.002)
                beats += 1

        heart = asyncio.ensure_future(beat())
        async for _ in Runner(spec(graph, "text")).run(says(*"abcdefghijklmnopqrstuvwx")):
            pass
        heart.cancel()

    asyncio.run(run_and_beat())
    assert 1 < fakes.LOG.most_in_flight <= 8
    assert beats > 10
