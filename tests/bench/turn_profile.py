"""Where the time to first token goes of a turn that follows a long history, read before: SmolLM2, 1,024 and 4,096 tokens.

    python tests/bench/turn_profile.py [--rounds 5] [--dtype bfloat16] [option=value …]

Prints the median time in milliseconds, of the same prompt read anew too, and what each part of the engine took of it. The
parts are timed in the engine's thread, around its own functions, and a part that calls another does not count it; what
no part names is Python between them, and the way to the engine's thread and back.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

from decode import HISTORIES, first_token, turns
from step_profile import Stopwatch, asked_for, watched

from vllm_flow.core.resources import Engine
from vllm_flow.engines.transformers import attention, kv, lean, loop, prefill
from vllm_flow.models import packed

PARTS: dict[str, list[tuple[Any, str]]] = {
    "the prompt's text and tokens": [(loop.Loop, "_row")],
    "copying what is remembered": [(kv.Sequence, "append")],
    "a place to decode at": [(kv.KVCache, "make_room")],
    "remembering the new piece": [(prefill.Prefill, "keep")],
    "matrix products": [(packed.PackedLinear, "_then"), (packed.PackedLinear, "_with")],
    "attention: scores, shares, values": [(attention, "_attention")],
    "attention: the rest": [(attention.Chunk, "__init__"), (attention.Chunk, "attend")],
    "norms, rotary positions": [(lean, "normed"), (lean, "_turned"), (lean, "rope_of")],
    "the rest of the forward pass": [(lean.Lean, "__call__")],
    "drawing, the loop": [(loop.Loop, "step")],
}


def profiled(engine: Engine, length: int, rounds: int, watch: Stopwatch) -> None:
    took, anew, parts = [], [], defaultdict[str, list[float]](list)
    for _ in range(rounds + 1):
        history, after, other = turns(length)
        first_token(engine, history)
        watch.parts.clear()
        took.append(first_token(engine, after))
        for part in PARTS:
            parts[part].append(watch.parts[part])
        anew.append(first_token(engine, other))
    whole = statistics.median(took[1:])  # the first warms up
    print(f"{length} tokens of history: {1000 * whole:.0f} ms; read anew {1000 * statistics.median(anew[1:]):.0f} ms")
    found = {part: statistics.median(several[1:]) for part, several in parts.items()}
    found["between, and the way there and back"] = whole - sum(found.values())
    for part, one in found.items():
        print(f"    {part:40} {1000 * one:8.1f} ms {100 * one / whole:5.1f} %", flush=True)


def main() -> None:
    engine, rounds = asked_for(__doc__, rounds=5)
    watch = watched(PARTS)
    for length in HISTORIES:
        profiled(engine, length, rounds, watch)
    engine.close()


if __name__ == "__main__":
    main()
