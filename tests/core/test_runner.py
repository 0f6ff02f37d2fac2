"""The runner: order, bounds, failures, interruption, seeds and what users see live."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests import fakes
from vllm_flow.core.engines import Engines
from vllm_flow.core.errors import EngineError, RecordError
from vllm_flow.core.events import Called, Committed, Event, Inferred, NodeDone, Opened, TokenMade, TurnDone, TurnStarted
from vllm_flow.core.messages import Text, user
from vllm_flow.core.registry import resource
from vllm_flow.core.results import Result
from vllm_flow.core.runner import Runner
from vllm_flow.core.seeds import derive_seed
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import BadRow, Completion, Turn

DIALOGUE = {
    "context": {"use": "context/full"},
    "prompt": {"use": "fuse/chat"},
    "schedule": {"use": "schedule/sampling"},
    "reply": {"use": "infer/generate"},
    "remember": {"use": "context/update"},
}
FAKE = {"engine": {"use": "fake/engine"}, "store": {"use": "store/memory"}}


def spec(graph: dict[str, Any] | None = None, output: str = "reply", **own: Any) -> RunSpec:
    return RunSpec("test", graph or DIALOGUE, output, **{"resources": FAKE, **own})


def turns(*texts: str, conversation: str = "a") -> list[Turn]:
    return [Turn(conversation, user(text), index=place) for place, text in enumerate(texts)]


def play(run: RunSpec, given: Any, *observers: Any, engines: Engines | None = None) -> list[Result]:
    async def all_of_them() -> list[Result]:
        return [result async for result in Runner(run, engines, observers).run(given)]

    return asyncio.run(all_of_them())


@pytest.fixture(autouse=True)
def _fresh() -> None:
    fakes.fresh_log()


def test_turns_of_a_conversation_are_answered_in_order_and_remembered() -> None:
    results = play(spec(), turns("one", "two", "three"))
    assert [(one.turn.number, one.value.text) for one in results] == [(1, "one "), (2, "two "), (3, "three ")]
    assert [len(request.prompt.messages) for request in fakes.LOG.requests] == [1, 3, 5]


def test_many_conversations_are_in_flight_at_once_but_never_more_than_the_bound() -> None:
    many = [Turn(f"c{i}", user("hello"), index=i) for i in range(40)]
    resources = {**FAKE, "engine": {"use": "fake/engine", "delay_s": 0.002}}
    results = play(spec(resources=resources, concurrency=7), many)
    assert len(results) == 40
    assert fakes.LOG.most_in_flight == 7


def test_the_input_is_read_no_further_ahead_than_the_bound_allows() -> None:
    read = 0

    def endless() -> Iterator[Turn]:
        nonlocal read
        for i in range(10_000):
            read += 1
            yield Turn(f"c{i}", user("hi"), index=i)

    async def take_three() -> None:
        async with Runner(spec(concurrency=4)) as runner:
            results = runner.run(endless())
            for _ in range(3):
                await anext(results)
            await results.aclose()

    asyncio.run(take_three())
    assert read < 100


def test_a_failing_turn_is_a_failure_and_its_neighbours_are_answered() -> None:
    results = play(spec(), [*turns("one", "fail", "three"), *turns("else", conversation="b")])
    by_text = {one.turn.text: one for one in results}
    assert by_text["fail"].failure is not None
    assert by_text["fail"].failure.node == "reply"
    assert by_text["fail"].failure.kind == "EngineError"
    assert by_text["fail"].failure.message == (
        "graph.reply (infer/generate): the engine refuses this. Ask something else."
    )
    assert [by_text[text].value.text for text in ("one", "three", "else")] == ["one ", "three ", "else "]
    assert [message.text for message in fakes.LOG.requests[-1].prompt.messages if message.text == "fail"] == []


def test_a_crash_inside_a_stage_is_told_with_its_class() -> None:
    (result,) = play(spec(), turns("crash"))
    assert result.failure is not None
    assert result.failure.kind == "ValueError"
    assert result.failure.message.startswith("graph.reply (infer/generate): ValueError: boom")


def test_a_bad_row_is_a_failure_in_its_place() -> None:
    results = play(spec(), [BadRow(0, "rows.jsonl:1", "it is no JSON. Write one."), *turns("one")[0:1]])
    bad = next(one for one in results if one.failure)
    assert bad.failure is not None
    assert (bad.turn.index, bad.failure.kind, bad.failure.message) == (
        0,
        "InputError",
        "rows.jsonl:1: it is no JSON. Write one.",
    )


def test_resources_are_opened_once_and_only_those_that_are_read() -> None:
    resources = {**FAKE, "judge": {"use": "fake/engine", "name": "judge"}, "bell": {"use": "fake/bell"}}
    play(spec(resources=resources), turns("one", "two"))
    assert fakes.LOG.opened == ["fake"]
    assert fakes.LOG.closed == ["fake"]


def test_what_was_opened_is_closed_when_the_next_one_fails_to_open() -> None:
    graph = {"said": {"use": "fake/ring"}, "again": {"use": "fake/ring", "from": {"bell": "second"}}}
    resources = {"bell": {"use": "fake/bell"}, "second": {"use": "fake/bell", "fails_to_open": True}}
    both = {**graph, "reply": {"use": "fake/join", "from": {"first": "said", "second": "again"}}}
    with pytest.raises(OSError, match="there is no bell"):
        play(spec(both, resources=resources), turns("one"))
    assert fakes.LOG.opened == fakes.LOG.closed == ["bell"]


def test_engines_of_equal_options_are_shared_between_runners_and_outlive_them() -> None:
    with Engines() as engines:
        play(spec(), turns("one"), engines=engines)
        play(spec(seed=7), turns("two"), engines=engines)
        assert (fakes.LOG.opened, fakes.LOG.closed) == (["fake"], [])
    assert fakes.LOG.closed == ["fake"]


def test_a_turn_delivered_again_gets_the_stored_reply() -> None:
    async def twice() -> list[Result]:
        async with Runner(spec()) as runner:
            given = [Turn("a", user("hello"), number=1)]
            return [result for _ in range(2) async for result in runner.run(given)]

    first, second = asyncio.run(twice())
    assert (first.stored, second.stored) == (False, True)
    assert first.value == second.value
    assert len(fakes.LOG.requests) == 1


def test_an_interrupted_answer_is_kept_as_far_as_it_was_said_and_made_again_on_request() -> None:
    async def interrupt() -> tuple[Any, Any]:
        async with Runner(spec()) as runner:
            task = asyncio.create_task(anext(runner.run([Turn("a", user("please wait forever"))])))
            while not fakes.LOG.in_flight:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            stored = runner.opened("store").turns("a")
            again = [one async for one in runner.run([Turn("a", user("and now"))])]
            return stored, again[0]

    stored, again = asyncio.run(interrupt())
    assert stored[0].reply.finish_reason == "interrupted"
    assert stored[0].reply.text == "please wait "
    assert (again.turn.number, again.value.text) == (2, "and now ")
    assert [message.text for message in fakes.LOG.requests[-1].prompt.messages] == [
        "please wait forever",
        "please wait ",
        "and now",
    ]
    assert fakes.LOG.in_flight == 0


def test_only_the_output_nodes_tokens_are_live() -> None:
    seen: list[Event] = []
    guarded = {
        **DIALOGUE,
        "checked": {"use": "fake/guard"},
        "remember": {"use": "context/update", "from": {"reply": "checked"}},
    }
    (result,) = play(spec(guarded, output="checked"), turns("a secret"), seen.append)
    assert result.value.text == "[checked]"
    assert [event.live for event in seen if isinstance(event, TokenMade)] == [False, False]
    seen.clear()
    play(spec(), turns("no secret"), seen.append)
    assert [event.live for event in seen if isinstance(event, TokenMade)] == [True, True]


def test_observers_hear_of_everything_in_order() -> None:
    seen: list[Event] = []
    play(spec(), turns("hi"), seen.append)
    nodes = [event.node for event in seen if isinstance(event, NodeDone)]
    assert nodes == ["context", "schedule", "prompt", "reply", "remember"]
    assert [type(event) for event in seen if not isinstance(event, NodeDone)] == [
        Opened,
        TurnStarted,
        TokenMade,
        Inferred,
        Called,
        Committed,
        TurnDone,
    ]
    done = next(event for event in seen if isinstance(event, Inferred))
    assert 0 <= done.ttft_s <= done.seconds


def test_an_observer_that_cannot_write_ends_the_run_with_its_error() -> None:
    def full(event: Event) -> None:
        if isinstance(event, TurnDone):
            raise RecordError("outputs: the disk is full. Free some space.")

    with pytest.raises(RecordError, match="the disk is full"):
        play(spec(), turns("one", "two"), full)


def test_a_seed_depends_on_run_conversation_turn_node_and_sample_and_on_nothing_else() -> None:
    play(spec(seed=3, concurrency=1), turns("one", "two"))
    alone = [request.seed for request in fakes.LOG.requests]
    assert alone == [derive_seed(3, "a", number, "reply", 0) for number in (1, 2)]
    fakes.fresh_log()
    others = [Turn(f"b{i}", user("x"), index=9 + i) for i in range(5)]
    play(spec(seed=3, sampling={"temperature": 0.1}), [*others, *turns("one", "two")])
    assert set(alone) <= {request.seed for request in fakes.LOG.requests}
    assert len({request.seed for request in fakes.LOG.requests}) == 7


def test_a_retry_draws_other_noise() -> None:
    play(spec(), [Turn("a", user("x"), number=1)])
    play(spec(), [Turn("a", user("x"), number=1, sample=1)])
    first, retry = (request.seed for request in fakes.LOG.requests)
    assert first != retry


def test_several_answers_are_in_flight_together_each_with_its_own_seed() -> None:
    graph = {**DIALOGUE, "candidates": {"use": "infer/sample"}, "reply": {"use": "select/vote"}}
    resources = {**FAKE, "engine": {"use": "engine/echo"}}
    (result,) = play(spec(graph, resources=resources, sampling={"n": 4}), turns("the answer is 7"))
    assert result.value.text == "the answer is 7"


def test_each_maps_a_stage_over_a_tuple_at_once_and_best_takes_the_highest() -> None:
    graph = {
        "prompts": {"use": "fake/split"},
        "schedule": {"use": "schedule/sampling"},
        "candidates": {"use": "infer/generate", "each": "prompt", "from": {"prompt": "prompts"}},
        "scores": {"use": "fake/length", "each": "completion", "from": {"completion": "candidates"}},
        "reply": {"use": "select/best"},
    }
    seen: list[Event] = []
    (result,) = play(spec(graph), turns("a longest bit"), seen.append)
    assert result.value.text == "longest "
    assert [event.node for event in seen if isinstance(event, TokenMade)] == [f"candidates[{i}]" for i in range(3)]
    assert not any(event.live for event in seen if isinstance(event, TokenMade))


def test_when_chooses_a_branch_and_not_the_other() -> None:
    graph = {
        **DIALOGUE,
        "asked": {"use": "fake/asks"},
        "first": {"use": "infer/generate", "when": "asked"},
        "second": {"use": "infer/generate", "when": "not asked"},
        "reply": {"use": "fake/either"},
    }
    seen: list[Event] = []
    play(spec(graph), turns("really?", "really."), seen.append)
    assert [event.node for event in seen if isinstance(event, Inferred)] == ["first", "second"]


def test_a_pipeline_used_as_a_stage_streams_live_and_has_its_own_seeds() -> None:
    solve = {"graph": {name: DIALOGUE[name] for name in ("prompt", "schedule", "reply")}, "output": "reply"}
    graph = {name: DIALOGUE[name] for name in ("context", "remember")} | {"reply": {"use": "pipeline/solve"}}
    seen: list[Event] = []
    (result,) = play(spec(graph, pipelines={"solve": solve}), turns("hi there"), seen.append)
    assert result.value.text == "hi there "
    assert [event.live for event in seen if isinstance(event, TokenMade)] == [True, True]
    assert fakes.LOG.requests[0].seed == derive_seed(0, "a", 1, "reply/reply", 0)


def test_blocking_stages_run_in_threads_and_do_not_stop_the_others() -> None:
    graph = {"text": {"use": "fake/slow", "seconds": 0.02}}
    results = play(spec(graph, output="text"), [Turn(f"c{i}", user("x")) for i in range(4)])
    assert [one.value for one in results] == [Text("x")] * 4
    assert fakes.LOG.most_in_flight > 1


def test_a_graph_that_remembers_nothing_still_counts_turns() -> None:
    results = play(spec({"text": {"use": "fake/text"}}, output="text"), turns("one", "two"))
    assert [one.turn.number for one in results] == [1, 2]


def test_reconfiguring_keeps_what_is_configured_alike_open() -> None:
    async def change() -> list[str]:
        async with Runner(spec()) as runner:
            first = [one async for one in runner.run(turns("one"))]
            runner.reconfigure(spec(sampling={"temperature": 0.5}), "sampling.temperature=0.5")
            second = [one async for one in runner.run(turns("two"))]
            return [one.value.text for one in (*first, *second)]

    assert asyncio.run(change()) == ["one ", "two "]
    assert fakes.LOG.opened == ["fake"]
    assert [request.schedule.at(0).temperature for request in fakes.LOG.requests] == [1.0, 0.5]
    assert len(fakes.LOG.requests[1].prompt.messages) == 3


def test_reconfiguring_to_what_cannot_be_opened_changes_nothing() -> None:
    graph = {**DIALOGUE, "ring": {"use": "fake/ring"}, "both": {"use": "fake/pair", "from": {"text": "ring"}}}
    bell = {"bell": {"use": "fake/bell"}}
    wanted = {"bell": {"use": "fake/bell", "name": "new"}, "engine": {"use": "fake/engine", "fails_to_open": True}}

    async def change() -> list[str]:
        before = spec(graph, "both", resources={**FAKE, **bell})
        async with Runner(before) as runner:
            first = [one async for one in runner.run(turns("one"))]
            with pytest.raises(EngineError, match="no such weights"):
                runner.reconfigure(spec(graph, "both", resources={**FAKE, **wanted}), "engine=other")
            assert (runner.spec, fakes.LOG.closed) == (before, ["new"] if "new" in fakes.LOG.opened else [])
            second = [one async for one in runner.run(turns("two"))]
            return [one.value.text for one in (*first, *second)]

    assert asyncio.run(change()) == ["one one ", "two two "]
    assert len(fakes.LOG.requests[1].prompt.messages) == 3
    assert sorted(fakes.LOG.closed) == sorted(fakes.LOG.opened)


@resource("fake/own")
@dataclass(frozen=True)
class Own(fakes.FakeOptions):
    """An engine that is not shared."""


def test_an_engine_that_is_not_shared_is_closed_with_its_run_and_when_it_is_replaced() -> None:
    async def change() -> None:
        own = [spec(resources={**FAKE, "engine": {"use": "fake/own", "name": name}}) for name in ("a", "b")]
        async with Runner(own[0]) as runner:
            runner.reconfigure(own[1], "engine.name=b")
            assert (fakes.LOG.opened, fakes.LOG.closed) == (["a", "b"], ["a"])

    asyncio.run(change())
    assert fakes.LOG.closed == ["a", "b"]


def test_a_completion_carries_ids_text_reason_and_usage() -> None:
    (result,) = play(spec(resources={**FAKE, "engine": {"use": "engine/echo"}}), turns("two words"))
    assert isinstance(result.value, Completion)
    assert (result.value.text, result.value.finish_reason) == ("two words", "stop")
    assert (result.value.usage.prompt_tokens, len(result.value.token_ids)) == (2, 2)


def test_a_request_is_of_the_tenant_of_its_turn_which_changes_no_answer_and_no_seed() -> None:
    given = [Turn("a", user("one"), number=1, tenant="ann"), Turn("a2", user("one"), number=1, index=1)]
    play(spec(), given)
    assert [request.tenant for request in fakes.LOG.requests] == ["ann", ""]
    seeds = [derive_seed(0, name, 1, "reply", 0) for name in ("a", "a2")]
    assert [request.seed for request in fakes.LOG.requests] == seeds
