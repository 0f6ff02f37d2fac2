"""Ledgers of whole conversations: within the budget at every turn, adding up, and the prompts made again from the record."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from vllm_flow.core.codec import completion_from_json
from vllm_flow.core.ledger import Measured
from vllm_flow.core.messages import user
from vllm_flow.core.record import Record
from vllm_flow.core.recorded import Recorded, read
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import Store
from vllm_flow.core.runner import Runner
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Context, Prompt, Turn
from vllm_flow.engines.echo import Echo, EchoEngine
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.spec import Architecture, Model
from vllm_flow.stages.context import Full
from vllm_flow.stages.fuse import Chat
from vllm_flow.stores.memory import Memory

BUDGET = 300
"""In tokens, of which the tiny model has one a byte."""
PROMPT = {"use": "fuse/chat", "system": "Be brief.", "budget": BUDGET, "shares": {"history": {"overflow": "oldest"}}}
GRAPH = {
    "context": {"use": "context/full"},
    "prompt": PROMPT,
    "schedule": {"use": "schedule/sampling"},
    "reply": {"use": "infer/generate"},
    "remember": {"use": "context/update"},
}
TINY: dict[str, Any] = {
    "name": "random",
    "architecture": {"hidden_size": 32, "layers": 2, "heads": 4, "max_context": 400},
}
WIDE = {"name": "wide", "architecture": {**TINY["architecture"], "max_context": 1000}}
ROOMY = {"name": "roomy", "architecture": {**TINY["architecture"], "max_context": 3000}}
ENGINES: dict[str, dict[str, Any]] = {
    "echo": {"use": "engine/echo"},
    "tiny": {"use": "engine/transformers", "model": TINY, "threads": 1},
    "roomy": {"use": "engine/transformers", "model": ROOMY, "threads": 1},
    "wide": {"use": "engine/transformers", "model": WIDE, "threads": 1},
}


def run(
    folder: Path,
    engine: str,
    conversations: int,
    turns: int,
    judge: str = "",
    offer: Mapping[str, Any] | None = None,
    **graph: Any,
) -> Recorded:
    resources = {"engine": ENGINES[engine], "store": {"use": "store/memory"}}
    resources |= {"tools": {"use": "tools/functions", "offer": offer}} if offer else {}
    resources |= {"judge": ENGINES[judge]} if judge else {}
    spec = RunSpec("talk", {**GRAPH, **graph}, "reply", resources=resources, sampling={"max_tokens": 9}, seed=3)
    given = [
        Turn(f"talk {number}", user(f"Turn {turn} of {number}: " + "snow falls on the sea. " * (turn % 4)), index=place)
        for place, (turn, number) in enumerate(
            (turn, number) for turn in range(turns) for number in range(conversations)
        )
    ]

    async def answer(record: Record) -> None:
        async for result in Runner(spec, observers=[record]).run(given):
            assert result.failure is None, result.failure

    with Record(folder, spec) as record:
        asyncio.run(answer(record))
    return read(folder)


def calls(recorded: Recorded) -> Iterator[Mapping[str, Any]]:
    for _, row in sorted(recorded.calls().items()):
        yield from (call for call in row["calls"] if call["method"] == "generate")


def check_adds_up(recorded: Recorded, turns: int) -> None:
    answered = 0
    for call in calls(recorded):
        ledger = call["ledger"]
        assert ledger["tokens"] == sum(one["tokens"] for one in ledger["entries"]) == len(call["prompt_ids"])
        assert ledger["tokens"] == call["completion"]["usage"]["prompt_tokens"] <= ledger["budget"] == BUDGET
        answered += 1
    assert answered == turns


def test_two_hundred_turns_are_never_over_the_budget_and_the_ledger_adds_up(tmp_path: Path) -> None:
    recorded = run(tmp_path / "run", "echo", conversations=1, turns=200)
    check_adds_up(recorded, 200)
    last = list(calls(recorded))[-1]["ledger"]
    gone = sum(one["count"] for one in last["left_out"])
    (kept,) = (one["items"] for one in last["entries"] if one["segment"] == "history")
    assert gone > 300
    assert gone + kept == 2 * 199


def test_rounds_with_tools_are_within_the_budget_that_left_room_for_them(tmp_path: Path) -> None:
    shares = {"history": {"overflow": "oldest"}, "tools": {"least": 1200}}
    prompt = {**PROMPT, "budget": 1500, "shares": shares, "from": {"offered": "tools"}}
    reply = {"use": "infer/tools", "form": "constrained", "rounds": 1, "least": 1, "mend": 0}
    recorded = run(tmp_path / "run", "roomy", 1, 9, offer={"calculator": {}}, prompt=prompt, reply=reply)
    ledgers = [call["ledger"] for call in calls(recorded)]
    assert len(ledgers) == 2 * 9
    tokens = [{one["segment"]: one["tokens"] for one in ledger["entries"]} for ledger in ledgers]
    assert all(of["tools"] > 700 for of in tokens[::2])  # described
    assert all(0 < of["tools"] < 400 for of in tokens[1::2])  # what they gave
    assert max(ledger["tokens"] for ledger in ledgers) <= 1500
    assert ledgers[-1]["left_out"]
    assert {*ledgers[-1]["left_out"][0].values()} >= {"history", "messages", "the budget is 1500"}


def remade(recorded: Recorded, engine: Any) -> Iterator[tuple[Prompt, list[int]]]:
    """Each prompt once more, from the turns and replies in the record alone; and the ids that were read then."""
    told = {
        row["index"]: next(call for call in row["calls"] if "prompt_ids" in call) for row in recorded.calls().values()
    }
    stores: dict[str, Store] = {}
    chat = Chat("Be brief.", BUDGET, {"history": {"overflow": "oldest"}})
    for row in recorded.results():
        turn = recorded.turn(row)
        store = stores.setdefault(turn.conversation, Memory().open())
        known: Context = Full().run(turn, store)
        yield chat.run(turn, known, engine=engine), told[turn.index]["prompt_ids"]
        store.commit(turn, completion_from_json(row["value"]), {})


@pytest.mark.parametrize("turns", [5, pytest.param(50, marks=pytest.mark.full)])
def test_every_prompt_can_be_made_again_from_the_record(tmp_path: Path, turns: int) -> None:
    recorded = run(tmp_path / "run", "tiny", conversations=10, turns=turns)
    check_adds_up(recorded, 10 * turns)
    engine: Any = Transformers(Model("random", architecture=Architecture(32, 2, 4, max_context=400)), threads=1).open()
    try:
        equal = sum(engine.prompt_ids(prompt) == ids for prompt, ids in remade(recorded, engine))
    finally:
        engine.close()
    assert equal == 10 * turns


def test_a_request_by_a_fuser_without_a_ledger_has_one_by_roles(tmp_path: Path) -> None:
    recorded = run(
        tmp_path / "run", "tiny", 1, 2, context={"use": "context/window", "turns": 0}, prompt={"use": "fuse/chat"}
    )
    first, second = (call["ledger"] for call in calls(recorded))
    assert [one["segment"] for one in first["entries"]] == ["question", "template"]
    assert second["left_out"] == [
        {"segment": "history", "what": "messages", "count": 2, "why": "no earlier turn is kept"}
    ]
    plain = {"prompt": {"use": "fuse/plain"}, "remember": GRAPH["remember"]}
    recorded = run(tmp_path / "plain", "tiny", 1, 1, **plain)
    (call,) = calls(recorded)
    assert [one["segment"] for one in call["ledger"]["entries"]] == ["question"]
    assert call["ledger"]["tokens"] == len(call["prompt_ids"])


def test_a_ledger_is_that_of_the_engine_which_reads_the_prompt(tmp_path: Path) -> None:
    """The fuser counts with one engine, and another reads."""
    judged = {"use": "infer/generate", "from": {"engine": "judge"}}
    recorded = run(tmp_path / "run", "echo", 1, 3, judge="tiny", prompt={**PROMPT, "budget": 20}, reply=judged)
    for call in calls(recorded):
        tokens = {one["segment"]: one["tokens"] for one in call["ledger"]["entries"]}
        assert call["resource"] == "judge"
        assert sum(tokens.values()) == len(call["prompt_ids"]) > 40
        assert tokens["system"] == len("Be brief.")  # a token a byte
        assert tokens["template"] > 0


TENANTS: list[str] = []


class Listening(EchoEngine):
    def measure(self, prompt: Prompt, tenant: str = "") -> Measured:
        TENANTS.append(tenant)
        return super().measure(prompt, tenant)


@resource("test/listening", shared=True)
@dataclass(frozen=True)
class ListeningOptions(Echo):
    """Notes for whom it measures."""

    def open(self) -> EchoEngine:
        return Listening()


def test_a_prompt_is_measured_for_the_turns_own_tenant() -> None:
    resources = {"engine": {"use": "test/listening"}, "store": {"use": "store/memory"}}
    spec = RunSpec("talk", GRAPH, "reply", resources=resources)

    async def answer() -> None:
        async for result in Runner(spec).run([Turn("a", user("hi"), tenant="ann")]):
            assert result.failure is None

    asyncio.run(answer())
    assert TENANTS == ["ann", "ann"]  # by the fuser, which has a budget, and for the request


def test_a_history_that_goes_in_steps_is_mostly_known_to_the_prefix_cache(tmp_path: Path) -> None:
    def known(step: int) -> float:
        shares = {"history": {"overflow": "oldest", "step": step}}
        place = tmp_path / str(step)
        run(place, "wide", 1, 36, prompt={**PROMPT, "budget": 900, "shares": shares})
        rows = [json.loads(line) for line in (place / "timings.jsonl").read_text(encoding="utf-8").splitlines()]
        return sum(row["cached_tokens"] for row in rows[16:]) / sum(row["prompt_tokens"] for row in rows[16:])

    assert known(4) > 2 * known(1)


def test_a_ledger_takes_little_of_a_record(tmp_path: Path) -> None:
    recorded = run(tmp_path / "run", "echo", conversations=1, turns=60)
    longest = max(len(json.dumps(call["ledger"])) for call in calls(recorded))
    assert longest < 400  # bytes, with five segments and what the budget left out
