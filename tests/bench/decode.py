"""The transformers engine against transformers' own `generate`, on SmolLM2, in two processes and in turns.

    python tests/bench/decode.py [--rounds 3] [--dtype bfloat16] [--vllm PYTHON] [option=value …]

Prints the median of the rounds and the ratio: tokens a second for 1, 8 and 32 greedy requests in flight; a sweep of 16
settings over 8 prompts, all at once against one `generate` a setting; and the time to first token of a turn that follows
a long history, against that of the same prompt read anew by the same engine. Loading is not counted; `generate` gets
token ids, the engine messages, and it streams. Both make exactly 48 tokens a row. With a Python that has vLLM there are
two cases more, each one call of it: 64 greedy requests for 16 to 256 tokens, and the sweep.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from vllm_flow.core.resources import Engine
from vllm_flow.core.sampling import Sampling, Schedule
from vllm_flow.core.values import Prompt, Request, user
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.pull import pull
from vllm_flow.models.spec import Model
from vllm_flow.stages.infer import complete

TOKENS = 48
SETTINGS = [(t, p) for t in (0.3, 0.7, 1.0, 1.3) for p in (0.5, 0.8, 0.9, 0.95)]
PROMPTS = 8
STORY = "Write a story about a dog."
HISTORIES = (1024, 4096)
_count = iter(range(10**9))


def fresh(text: str) -> Prompt:
    """A short prompt that was never read before."""
    return Prompt((user(f"Request {next(_count)}. {text} Take your time, and use as many words as you like."),))


def asked(prompt: Prompt, seed: int = 0, **sampling: Any) -> Request:
    how = Sampling(**{"max_tokens": TOKENS, "min_tokens": TOKENS, **sampling})
    return Request(prompt, Schedule(how), seed=seed)


def tokens_a_second(engine: Engine, requests: list[Request]) -> float:
    async def all_at_once() -> int:
        done = await asyncio.gather(*(complete(engine, request) for request in requests))
        return sum(len(one.token_ids) for one in done)

    started = time.perf_counter()
    return asyncio.run(all_at_once()) / (time.perf_counter() - started)


Peer = Callable[[int, list[dict[str, Any]]], float]


@contextmanager
def generate(folder: Path, dtype: str, prompt_tokens: int) -> Iterator[Peer]:
    """Tokens a second of `generate`, one after the other for each setting; prompts have as many tokens as ours."""
    program = [sys.executable, str(Path(__file__).with_name("generate_peer.py"))]
    arguments = [str(folder), dtype, str(TOKENS), str(prompt_tokens)]
    with subprocess.Popen([*program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()

        def rate(rows: int, settings: list[dict[str, Any]]) -> float:
            print(json.dumps({"rows": rows, "settings": settings}), file=process.stdin, flush=True)
            return rows * len(settings) * TOKENS / float(json.loads(process.stdout.readline()))

        yield rate
        process.stdin.close()


@contextmanager
def vllm(python: str, folder: Path, dtype: str) -> Iterator[Callable[[list[Request], Engine], float]]:
    """Tokens a second of vLLM, all requests in one call; it is given the token ids that the engine would read."""
    program = [python, str(Path(__file__).with_name("vllm_peer.py")), str(folder), dtype]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(program, start_new_session=True, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGSTOP)  # its processes compute also while they have nothing to do

        def rate(requests: list[Request], engine: Any) -> float:
            prompts = [engine._loaded.renderer.ids(one.prompt) for one in requests]
            names = ("temperature", "top_p", "max_tokens")
            settings = [{name: getattr(one.schedule.at(0), name) for name in names} for one in requests]
            os.killpg(process.pid, signal.SIGCONT)
            print(json.dumps({"prompts": prompts, "settings": settings}), file=process.stdin, flush=True)
            took, tokens = json.loads(process.stdout.readline())
            os.killpg(process.pid, signal.SIGSTOP)
            return float(tokens / took)

        try:
            yield rate
        finally:
            os.killpg(process.pid, signal.SIGCONT)
            process.stdin.close()


def against_vllm(engine: Engine, rate: Callable[[list[Request], Engine], float], rounds: int) -> None:
    mine: list[list[float]] = [[], []]
    others: list[list[float]] = [[], []]
    for _ in range(rounds + 1):
        lengths = [16 + place * 240 // 63 for place in range(64)]
        mixed = [asked(fresh(STORY), temperature=0, max_tokens=n, min_tokens=n) for n in lengths]
        for place, requests in enumerate((mixed, swept())):
            others[place].append(rate(requests, engine))
            mine[place].append(tokens_a_second(engine, requests))
    for place, what in enumerate(("64 requests of 16 to 256 tokens", f"{len(SETTINGS)} settings of {PROMPTS} prompts")):
        told(f"{what}; vLLM", "tok/s", mine[place][1:], others[place][1:])  # the first of each warms up


def first_token(engine: Engine, prompt: Prompt) -> float:
    """Seconds."""

    async def first() -> float:
        stream, started = engine.generate(asked(prompt, temperature=0)), time.perf_counter()
        async for _ in stream:
            took = time.perf_counter() - started
            await stream.aclose()
            return took
        raise RuntimeError("no token came")

    return asyncio.run(first())


def told(what: str, unit: str, mine: list[float], peer: list[float]) -> None:
    ratios = [one / other if unit != "s" else other / one for one, other in zip(mine, peer, strict=True)]
    figures = f"{statistics.median(mine):8.2f} {statistics.median(peer):8.2f} {unit:6}"
    print(f"{what:44} {figures} ratio {statistics.median(ratios):.2f}", flush=True)


def greedy(engine: Engine, peer: Peer, rounds: int) -> None:
    for rows in (1, 8, 32):
        mine, others = [], []
        for _ in range(rounds):
            requests = [asked(fresh(STORY), temperature=0) for _ in range(rows)]
            mine.append(tokens_a_second(engine, requests))
            others.append(peer(rows, [{"do_sample": False}]))
        told(f"{rows} greedy requests at once", "tok/s", mine, others)


def swept() -> list[Request]:
    """Every setting for each of some new prompts."""
    prompts = [fresh(STORY) for _ in range(PROMPTS)]
    return [asked(prompt, seed, temperature=t, top_p=p) for seed, prompt in enumerate(prompts) for t, p in SETTINGS]


def sweep(engine: Engine, peer: Peer, rounds: int) -> None:
    mine, others = [], []
    for _ in range(rounds):
        mine.append(tokens_a_second(engine, swept()))
        others.append(
            peer(PROMPTS, [{"do_sample": True, "temperature": t, "top_p": p, "top_k": 0} for t, p in SETTINGS])
        )
    told(f"{len(SETTINGS)} settings of {PROMPTS} prompts", "tok/s", mine, others)


def histories(engine: Engine, rounds: int) -> None:
    for length in HISTORIES:
        mine, others = [], []
        for _ in range(rounds):
            said = "The sea was calm that morning. " * (length // 7)
            first_token(engine, Prompt((user(f"{next(_count)} {said}"),)))
            history = user(f"{next(_count)} {said}")
            first_token(engine, Prompt((history,)))
            turn = user("And what did the old fisherman say to them then? " * 2)
            mine.append(first_token(engine, Prompt((history, turn))))
            others.append(first_token(engine, Prompt((user(f"{next(_count)} {said}"), turn))))
        told(f"first token after {length} tokens of history", "s", mine, others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--only", choices=("greedy", "sweep", "histories", "vllm"))
    parser.add_argument("--vllm", metavar="PYTHON", help="of an environment with vLLM")
    parser.add_argument("options", nargs="*", metavar="option=value", help="of the engine, such as deterministic=false")
    given = parser.parse_args()
    options = {key: yaml.safe_load(value) for key, _, value in (one.partition("=") for one in given.options)}
    folder = pull("smollm2")
    engine = Transformers(Model("smollm2", path=str(folder)), dtype=given.dtype, **options).open()
    facts = engine.describe()
    print(
        {key: facts[key] for key in ("dtype", "forward", "compiled", "deterministic")}, f"load {os.getloadavg()[0]:.1f}"
    )
    prompt_tokens = engine.count(fresh(STORY))
    print(f"prompts of {prompt_tokens} tokens, median of {given.rounds} rounds: ours, peer")
    with generate(folder, given.dtype, prompt_tokens) as peer:
        if given.only in {None, "greedy"}:
            greedy(engine, peer, given.rounds)
        if given.only in {None, "sweep"}:
            sweep(engine, peer, given.rounds)
    if given.vllm and given.only in {None, "vllm"}:
        with vllm(given.vllm, folder, given.dtype) as peer_vllm:
            against_vllm(engine, peer_vllm, given.rounds)
    if given.only in {None, "histories"}:
        histories(engine, given.rounds)
    engine.close()


if __name__ == "__main__":
    main()
