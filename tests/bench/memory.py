"""What many long answers take: the process's memory with 64 rows of 1,024 tokens in flight, beside weights and KV cache.

    python tests/bench/memory.py [--rows 64] [--tokens 1024] [--dtype bfloat16]

Read from /proc every 50 ms, so on Linux only. From the most that was in memory three things are taken off: what a process
has that imports torch and transformers' Llama class; the record's `weight_bytes`; and `kv_bytes_per_token` for each token
of each row at its end. All else counts: logits, activations, the tokenizer, packed copies, whatever the allocator keeps.
Prompts are three quarters of each row, and all are different; nothing is kept for prompts to come.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import threading
from pathlib import Path

import torch
from transformers import AutoTokenizer, LlamaForCausalLM

from vllm_flow.core.sampling import Sampling, Schedule
from vllm_flow.core.values import Prompt, Request, user
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.models.pull import pull
from vllm_flow.models.spec import Model
from vllm_flow.stages.infer import complete

IMPORTED = (torch, AutoTokenizer, LlamaForCausalLM)
MB = 1e6


def resident() -> float:
    """MB of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    given = parser.parse_args()
    folder, imports = pull("smollm2"), resident()
    model = Model("smollm2", path=str(folder))
    engine = Transformers(model, dtype=given.dtype, kv_cache_gib=8.0, prefix_cache_gib=0.0).open()
    facts = engine.describe()
    loaded, seen, done = resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            seen.append(resident())

    watcher = threading.Thread(target=watch)
    watcher.start()

    async def all_at_once() -> None:
        requests = []
        for row in range(given.rows):
            prompt = Prompt((user(f"{row} " + "The sea was calm that morning. " * (given.tokens * 3 // 4 // 7)),))
            new = given.tokens - engine.count(prompt)
            requests.append(Request(prompt, Schedule(Sampling(temperature=0, max_tokens=new, min_tokens=new)), row))
        await asyncio.gather(*(complete(engine, request) for request in requests))

    asyncio.run(all_at_once())
    done.set()
    watcher.join()
    engine.close()
    weights = facts["weight_bytes"] / MB
    cache = given.rows * given.tokens * facts["kv_bytes_per_token"] / MB
    print(f"imports {imports:.0f} MB, loaded {loaded - imports:.0f} MB more, at most {max(seen) - imports:.0f} MB more")
    print(f"weights {weights:.0f} MB, KV cache of {given.rows} x {given.tokens} tokens {cache:.0f} MB")
    print(f"beside them: {max(seen) - imports - weights - cache:.0f} MB")


if __name__ == "__main__":
    main()
