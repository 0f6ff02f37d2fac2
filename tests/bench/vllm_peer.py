"""A process with vLLM in it, for `decode.py --vllm PYTHON` to measure against: one case a line on stdin.

Run by a Python that has vLLM, which need not have this project. A case is JSON, `{"prompts": [[ids]], "settings":
[{"temperature": 0, "max_tokens": 16}]}`, a setting for each prompt, all in one call; the answer is seconds and tokens.
"""

from __future__ import annotations

import json
import os
import sys
import time

os.environ.update(HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", VLLM_LOGGING_LEVEL="ERROR", VLLM_CPU_KVCACHE_SPACE="4")


def main(folder: str, dtype: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # vLLM and its workers write on stdout, too
    from vllm import LLM, SamplingParams

    model = LLM(model=folder, dtype=dtype, max_model_len=2048, enable_prefix_caching=True)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        prompts = [{"prompt_token_ids": ids} for ids in case["prompts"]]
        settings = [SamplingParams(**one, ignore_eos=True, detokenize=True) for one in case["settings"]]
        started = time.perf_counter()
        found = model.generate(prompts, settings, use_tqdm=False)
        took = time.perf_counter() - started
        print(json.dumps([took, sum(len(one.outputs[0].token_ids) for one in found)]), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
