"""A process with nothing but llama.cpp, for `decode.py` to measure against: one case a line on stdin.

Python calls what llama.cpp calls itself, one `llama_decode` a token and the largest logit, so that little is lost on the
way. A case is JSON, of which nothing is read: it is always one greedy row; the answer is the seconds it took.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import llama_cpp
import numpy as np


def main(file: str, tokens: int, prompt_tokens: int, threads: int) -> None:
    how = {"n_ctx": 2048, "n_threads": threads, "n_threads_batch": threads, "verbose": False}
    model = llama_cpp.Llama(file, **how)
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        ids = [random.randrange(100, 40_000) for _ in range(prompt_tokens)]
        model._ctx.kv_cache_clear()
        started = time.perf_counter()
        for _ in range(tokens):
            ids = [_next(model, ids)]
        print(json.dumps(time.perf_counter() - started), flush=True)


def _next(model: Any, ids: list[int]) -> int:
    """The most probable token after these. Raises RuntimeError."""
    given = (llama_cpp.llama_token * len(ids))(*ids)
    if llama_cpp.llama_decode(model.ctx, llama_cpp.llama_batch_get_one(given, len(ids))) != 0:
        raise RuntimeError("llama_decode failed")
    logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)
    return int(np.ctypeslib.as_array(logits, shape=(model.n_vocab(),)).argmax())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
