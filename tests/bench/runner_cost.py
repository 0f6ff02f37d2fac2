"""What the runner itself costs per turn: the dialogue graph, the echo engine, 1,000 conversations at once.

    python tests/bench/runner_cost.py [--rounds 5]

Prints milliseconds a turn, the median of the rounds: with the memory store; with the record beside it; with the record
and the sqlite store, whose two commits a turn wait for the disk. The peer is the same 1,000 conversations as bare
asyncio tasks that call the engine and do nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from vllm_flow.core.messages import user
from vllm_flow.core.record import Record
from vllm_flow.core.runner import Runner
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Prompt, Request, Turn
from vllm_flow.engines.echo import EchoEngine
from vllm_flow.stages.infer import complete

CONVERSATIONS, TURNS = 1000, 4
GRAPH = {
    "context": {"use": "context/full"},
    "prompt": {"use": "fuse/chat"},
    "schedule": {"use": "schedule/sampling"},
    "reply": {"use": "infer/generate"},
    "remember": {"use": "context/update"},
}


def spec(store: dict[str, str]) -> RunSpec:
    resources = {"engine": {"use": "engine/echo"}, "store": store}
    return RunSpec("dialogue", GRAPH, "reply", resources=resources, concurrency=CONVERSATIONS)


def turns(count: int) -> Iterator[Turn]:
    for place in range(count * TURNS):
        yield Turn(f"c{place % count}", user("How are you today?"), index=place)


async def bare(count: int, _: Path) -> None:
    engine, schedule = EchoEngine(), Schedule(Sampling())

    async def converse() -> None:
        for _ in range(TURNS):
            await complete(engine, Request(Prompt((user("How are you today?"),)), schedule))

    await asyncio.gather(*(converse() for _ in range(count)))


async def memory(count: int, _: Path) -> None:
    async for result in Runner(spec({"use": "store/memory"})).run(turns(count)):
        assert result.failure is None


async def memory_and_record(count: int, folder: Path) -> None:
    await recorded(spec({"use": "store/memory"}), count, folder)


async def sqlite_and_record(count: int, folder: Path) -> None:
    await recorded(spec({"use": "store/sqlite", "path": str(folder / "kept.sqlite")}), count, folder)


async def recorded(run: RunSpec, count: int, folder: Path) -> None:
    record = Record(folder / "run", run)
    async for result in Runner(run, observers=[record]).run(turns(count)):
        assert result.failure is None
    record.finish("finished")


def milliseconds(case: Callable[..., object], count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        asyncio.run(case(count, Path(folder)))  # type: ignore[arg-type]
        return (time.perf_counter() - started) * 1000 / (count * TURNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"{'':20} {'ms a turn':>9}   median of {rounds} rounds, {CONVERSATIONS} conversations of {TURNS} turns")
    for case in (bare, memory, memory_and_record, sqlite_and_record):
        milliseconds(case, 50)
        median = statistics.median(milliseconds(case, CONVERSATIONS) for _ in range(rounds))
        print(f"{case.__name__:20} {median:9.3f}")


if __name__ == "__main__":
    main()
