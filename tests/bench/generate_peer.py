"""A process with nothing but transformers' `generate`, for `decode.py` to measure against: one case a line on stdin.

It is a process of its own because a second team of threads in one process slows both down. A case is JSON, `{"rows": 8,
"settings": [{"do_sample": false}]}`; the answer is the seconds that one `generate` for each setting took together.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging


def main(folder: str, dtype: str, tokens: int, prompt_tokens: int) -> None:
    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        ids = torch.randint(100, 40_000, (case["rows"], prompt_tokens))
        fixed = {"max_new_tokens": tokens, "min_new_tokens": tokens, "pad_token_id": 2}
        started = time.perf_counter()
        for setting in case["settings"]:
            model.generate(ids, attention_mask=torch.ones_like(ids), **fixed, **setting)
        print(json.dumps(time.perf_counter() - started), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
