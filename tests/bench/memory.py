"""What many long answers take: the process's memory with 64 rows of 1,024 tokens in flight, beside weights and KV cache.

    python tests/bench/memory.py [--rows 64] [--tokens 1024] [--dtype bfloat16]

Read from /proc every 50 ms, so on Linux only. From the most that was in memory three things are taken off: what a process
has that imports torch and transformers' Llama class; the record's `weight_bytes`; and `kv_bytes_per_token` for each token
of each row at its end. All else counts: logits, activations, the tokenizer, packed copies, whatever the allocator keeps.
SmolLM2's head is its table of embeddings, which counts among the weights once; packed, it is there a second time.
Prompts are three quarters of each row, and all are different; nothing is kept for prompts to come.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from vllm_flow.core.messages import user
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Prompt, Request
from vllm_flow.engines.transformers.heap import give_back
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

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()

    async def all_at_once() -> None:
        requests = []
        for row in range(given.rows):
            prompt = Prompt((user(f"{row} " + "The sea was calm that morning. " * (given.tokens * 3 // 4 // 7)),))
            new = given.tokens - engine.count(prompt)
            requests.append(Request(prompt, Schedule(Sampling(temperature=0, max_tokens=new, min_tokens=new)), row))
        await asyncio.gather(*(complete(engine, request) for request in requests))

    asyncio.run(all_at_once())
    give_back()
    left = resident()
    done.set()
    watcher.join()
    engine.close()
    weights = facts["weight_bytes"] / MB
    cache = given.rows * given.tokens * facts["kv_bytes_per_token"] / MB
    most = max(seen) - imports
    table: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=given.dtype).get_input_embeddings()
    head = table.weight.nbytes / MB
    parts = {
        f"weights {weights:.0f}, KV cache of {given.rows} x {given.tokens} tokens {cache:.0f}; beside them": (
            most - weights - cache
        ),
        "    the head a second time, as matrix kernels want it": head,
        "    what else is there once the model is loaded": loaded - imports - weights - head,
        "    what comes with requests": most - cache - (loaded - imports),
        "    of it still there when they are done": left - loaded,
    }
    for part, one in parts.items():
        print(f"{part:75} {one:6.0f} MB")


if __name__ == "__main__":
    main()
