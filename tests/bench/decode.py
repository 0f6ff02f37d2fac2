"""The transformers engine against transformers' own `generate`, on SmolLM2, in two processes and in turns.

    python tests/bench/decode.py [--rounds 3] [--dtype bfloat16] [--vllm PYTHON] [option=value …]

Prints the median of the rounds and the ratio: tokens a second for 1, 8 and 32 greedy requests in flight; a sweep of 16
settings over 8 prompts, all at once against one `generate` a setting; and the time to first token of a turn that follows
a long history, against that of a `generate` that reads all of it, and that of the same engine. Loading is not counted;
`generate` gets token ids, the engine messages, and it streams. For the rates both make exactly 48 tokens a row. With a
Python that has vLLM there are two cases more, each one call of it: 64 greedy requests for 16 to 256 tokens, and the
sweep. With llama-cpp-python, one greedy request is held against llama.cpp too, which gets the same weights in the 4 bits
they come in.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import yaml
from peers import Peer, generate, llama_cpp, vllm

from vllm_flow.core.messages import user
from vllm_flow.core.resources import Engine
from vllm_flow.core.values import Prompt, Request
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.pull import pull, pull_gguf
from vllm_flow.models.spec import Model
from vllm_flow.stages.infer import complete
from vllm_flow.testing import schedule

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
    """A request for so many tokens; `sampling` as `vllm_flow.testing.schedule` has it."""
    how = schedule(**{"max_tokens": TOKENS, "min_tokens": TOKENS, **sampling})
    return Request(prompt, how, seed=seed)


def tokens_a_second(engine: Engine, requests: list[Request]) -> float:
    async def all_at_once() -> int:
        done = await asyncio.gather(*(complete(engine, request) for request in requests))
        return sum(len(one.token_ids) for one in done)

    started = time.perf_counter()
    return asyncio.run(all_at_once()) / (time.perf_counter() - started)


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


def against_llama(engine: Engine, peers: dict[str, Peer], rounds: int) -> None:
    """One request, and all of them in turns; the first round warms up."""
    mine: list[float] = []
    others: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(rounds + 1):
        mine.append(tokens_a_second(engine, [asked(fresh(STORY), temperature=0)]))
        for name, peer in peers.items():
            others[name].append(peer(1, [{"do_sample": False}]))
    for name, found in others.items():
        told(f"1 greedy request; {name}", "tok/s", mine[1:], found[1:])


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


def turns(length: int) -> tuple[Prompt, Prompt, Prompt]:
    """A history of about so many tokens, the turn of 32 after it, and that turn after a history never read before."""
    said = "The sea was calm that morning. " * (length // 7)
    history, other = (user(f"{next(_count)} {said}") for _ in range(2))
    turn = user("And what did the old fisherman say to them then? " * 2)
    return Prompt((history,)), Prompt((history, turn)), Prompt((other, turn))


def histories(engine: Engine, folder: Path, dtype: str, rounds: int) -> None:
    for length in HISTORIES:
        mine: list[float] = []
        generated: list[float] = []
        anew: list[float] = []
        with generate(folder, dtype, 1, engine.count(turns(length)[1])) as peer:
            peer(1, [{"do_sample": False}])  # warms up
            for _ in range(rounds):
                history, after, other = turns(length)
                first_token(engine, turns(length)[0])
                first_token(engine, history)
                mine.append(first_token(engine, after))
                anew.append(first_token(engine, other))
                generated.append(1 / peer(1, [{"do_sample": False}]))
        told(f"first token after {length} tokens; generate", "s", mine, generated)
        told("    the same; ours, read anew", "s", mine, anew)
        told("    ours, read anew; generate", "s", anew, generated)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--only", choices=("greedy", "llama", "sweep", "histories", "vllm"))
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
    with generate(folder, given.dtype, TOKENS, prompt_tokens) as peer:
        if given.only in {None, "greedy"}:
            greedy(engine, peer, given.rounds)
        if given.only in {None, "sweep"}:
            sweep(engine, peer, given.rounds)
        if given.only in {None, "llama"} and find_spec("llama_cpp"):
            with llama_cpp(pull_gguf("smollm2"), TOKENS, prompt_tokens, torch.get_num_threads()) as other:
                against_llama(engine, {"generate": peer, "llama.cpp": other}, given.rounds)
    if given.vllm and given.only in {None, "vllm"}:
        with vllm(given.vllm, folder, given.dtype) as peer_vllm:
            against_vllm(engine, peer_vllm, given.rounds)
    if given.only in {None, "histories"}:
        histories(engine, folder, given.dtype, given.rounds)
    engine.close()


if __name__ == "__main__":
    main()
