"""The transformers engine against transformers' own `generate`, on SmolLM2, both in this process and in turns.

    python tests/bench/decode.py [--rounds 3] [--dtype float32]

Prints the median of the rounds and the ratio: tokens a second for 1, 8 and 32 greedy requests in flight; a sweep of 16
settings over 8 prompts, all at once against one `generate` a setting; and the time to first token of a turn that follows
a long history, against that of the same prompt read anew. Loading is not counted; `generate` gets token ids, the engine
messages, and it streams.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from vllm_flow.core.resources import Engine
from vllm_flow.core.sampling import Sampling, Schedule
from vllm_flow.core.values import Prompt, Request, user
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.pull import pull
from vllm_flow.models.spec import Model
from vllm_flow.stages.infer import complete

TOKENS = 48
PROMPT_TOKENS = 40
SETTINGS = [
    Sampling(temperature=t, top_p=p, max_tokens=TOKENS) for t in (0.3, 0.7, 1.0, 1.3) for p in (0.5, 0.8, 0.9, 0.95)
]
PROMPTS = 8
HISTORY = 1024
_count = iter(range(10**9))


def fresh(text: str) -> Prompt:
    """A prompt of about PROMPT_TOKENS tokens that was never read before."""
    return Prompt((user(f"Request {next(_count)}. {text} Take your time, and use as many words as you like."),))


def ours(engine: Engine, requests: list[Request]) -> Callable[[], int]:
    async def all_at_once() -> int:
        done = await asyncio.gather(*(complete(engine, request) for request in requests))
        return sum(len(one.token_ids) for one in done)

    return lambda: asyncio.run(all_at_once())


def theirs(model: Any, rows: int, **how: Any) -> Callable[[], int]:
    ids = torch.randint(100, 40_000, (rows, PROMPT_TOKENS))
    fixed = {
        "max_new_tokens": TOKENS,
        "min_new_tokens": TOKENS,
        "pad_token_id": 2,
        "attention_mask": torch.ones_like(ids),
    }

    def run() -> int:
        model.generate(ids, **fixed, **how)
        return rows * TOKENS

    return run


def rate(case: Callable[[], int]) -> float:
    """Tokens a second."""
    started = time.perf_counter()
    return case() / (time.perf_counter() - started)


def first_token(engine: Engine, prompt: Prompt) -> float:
    async def first() -> float:
        stream, started = (
            engine.generate(Request(prompt, Schedule(Sampling(temperature=0, max_tokens=1)))),
            time.perf_counter(),
        )
        async for _ in stream:
            return time.perf_counter() - started
        raise RuntimeError("no token came")

    return asyncio.run(first())


def told(what: str, unit: str, mine: list[float], peer: list[float]) -> None:
    ratios = [one / other if unit != "s" else other / one for one, other in zip(mine, peer, strict=True)]
    figures = f"{statistics.median(mine):8.2f} {statistics.median(peer):8.2f} {unit:6}"
    print(f"{what:44} {figures} ratio {statistics.median(ratios):.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    given = parser.parse_args()
    folder = pull("smollm2")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, given.dtype)).eval()
    engine = Transformers(Model("smollm2", path=str(folder)), dtype=given.dtype).open()
    print(f"{given.dtype}, {torch.get_num_threads()} threads, median of {given.rounds} rounds: ours, peer")
    greedy = Schedule(Sampling(temperature=0, max_tokens=TOKENS))
    for rows in (1, 8, 32):
        mine, peer = [], []
        for _ in range(given.rounds):
            mine.append(rate(ours(engine, [Request(fresh("Write a story about a dog."), greedy) for _ in range(rows)])))
            peer.append(rate(theirs(model, rows, do_sample=False)))
        told(f"{rows} greedy requests at once", "tok/s", mine, peer)
    mine, peer = [], []
    for _ in range(given.rounds):
        prompts = [fresh("Write a story about a dog.") for _ in range(PROMPTS)]
        requests = [Request(one, Schedule(how), seed=place) for place, one in enumerate(prompts) for how in SETTINGS]
        mine.append(rate(ours(engine, requests)))
        runs = [
            theirs(model, PROMPTS, do_sample=True, temperature=how.temperature, top_p=how.top_p, top_k=0)
            for how in SETTINGS
        ]
        peer.append(rate(lambda runs=runs: sum(run() for run in runs)))
    told(f"{len(SETTINGS)} settings of {PROMPTS} prompts", "tok/s", mine, peer)
    mine, peer = [], []
    for _ in range(given.rounds):
        history = f"{next(_count)} " + "The sea was calm that morning. " * (HISTORY // 7)
        first_token(engine, Prompt((user(history),)))
        mine.append(
            first_token(engine, Prompt((user(history), user("And what did the old fisherman say to them then?"))))
        )
        peer.append(first_token(engine, Prompt((user(f"{next(_count)} {history}"), user("And what did he say?")))))
    told(f"first token after {HISTORY} tokens of history", "s", mine, peer)
    engine.close()


if __name__ == "__main__":
    main()
