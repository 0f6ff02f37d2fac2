"""A recorded run once more: its turns, its configuration and what clocks said then, for another pass of the runner.

Conversations begin in an empty store in memory, whatever store the run had: what it holds by now is not what it held.
And what they had learned is learned again, whatever folder keeps it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from vllm_flow.core.flow import Flow, Item
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.ports import fits
from vllm_flow.core.recorded import Recorded, Row
from vllm_flow.core.resources import Store
from vllm_flow.core.results import Result
from vllm_flow.core.runner import Runner
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Turn

MEMORY = {"use": "store/memory"}
ADAPTERS = "adapters"
"""The option of an engine that keeps what it learned."""


@dataclass(frozen=True)
class Turns:
    """Which turns of a record can be answered again."""

    rows: Sequence[Row]
    left_out: Mapping[str, int]
    """Why others cannot, with how many."""


def turns_of(recorded: Recorded) -> Turns:
    """The rows of results that the record holds all of: what came before in their conversations, and the settings."""
    kept, left_out = [], defaultdict[str, int](int)
    settled, change = _before_change(recorded)
    cut = _cut_off(recorded)
    numbered = not recorded.spec.input or bool(_lasting(recorded.spec))  # by the store: 2 is said after something
    foreign: set[str] = set()
    seen: set[str] = set()
    for place, row in enumerate(recorded.results()):
        conversation, number = row["conversation"], row["turn"]
        if numbered and conversation not in seen and (number or 1) > 1:
            foreign.add(conversation)
        seen.add(conversation)
        if number is None:
            left_out["their rows could not be read"] += 1
        elif place >= settled:
            left_out[f"the configuration was changed before them ({change})"] += 1
        elif cut.get(conversation, row["index"]) < row["index"]:
            left_out["an answer before them was cut off"] += 1
        elif conversation in foreign:
            left_out["their conversations began in another run or as a fork"] += 1
        else:
            kept.append(row)
    return Turns(kept, dict(left_out))


def _before_change(recorded: Recorded) -> tuple[float, str]:
    """How many turns were done when the configuration was first changed, and that change."""
    done = 0
    for event in recorded.events():
        if event["event"] == "reconfigured":
            return done, event["change"]
        done += event["event"] not in ("turn started", "context", "prompt")
    return float("inf"), ""


def _cut_off(recorded: Recorded) -> dict[str, int]:
    """Conversation to the index of its first turn without a result."""
    answered = {row["index"] for row in recorded.results()}
    found: dict[str, int] = {}
    for index, row in sorted(recorded.calls().items()):
        if index not in answered:
            found.setdefault(row["conversation"], index)
    return found


def stores_of(spec: RunSpec) -> list[str]:
    """The resources that are stores."""
    resources = Pipeline.build(spec).resources
    return [name for name, one in resources.items() if fits(one.opens, Store)]


def _lasting(spec: RunSpec) -> list[str]:
    return [name for name in stores_of(spec) if spec.resources[name].get("use") != MEMORY["use"]]


def in_memory(spec: RunSpec) -> RunSpec:
    """The spec with every store in memory, and engines that know nothing of what was learned before."""
    anew = {name: {**one, ADAPTERS: None} for name, one in spec.resources.items() if ADAPTERS in one}
    return replace(spec, resources={**spec.resources, **anew, **dict.fromkeys(_lasting(spec), MEMORY)})


class Recalled:
    """What clocks said in a run; a `Recall` for the runner."""

    def __init__(self, calls: Mapping[int, Row]) -> None:
        self._said: defaultdict[tuple[int, str, str, str], list[Any]] = defaultdict(list)
        for index, row in calls.items():
            for call in row["calls"]:
                if "value" in call:
                    self._said[index, call["node"], call["resource"], call["method"]].append(call["value"])

    def __call__(self, turn: Turn, node: str, resource: str, method: str, place: int) -> Any:
        said = self._said.get((turn.index, node, resource, method), ())
        return said[place] if place < len(said) else None


async def answered_again(runner: Runner, turns: Iterable[Turn]) -> AsyncGenerator[Result, None]:
    """Results as they come. A turn that stands where an earlier one stood was asked after that had been taken back."""
    stores: list[Store] = [runner.opened(name) for name in stores_of(runner.spec)]

    async def answer(item: Item) -> Result:
        if isinstance(item, Turn) and item.number is not None:
            for store in stores:
                while store.next_number(item.conversation) > item.number and store.undo(item.conversation):
                    pass
        return await runner.answer(item)

    async with aclosing(Flow(answer, runner.spec.concurrency).run(turns)) as results:
        async for result in results:
            yield result
