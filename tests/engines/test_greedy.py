"""Greedy answers in float32 are those of `generate`, of many families, while requests of all lengths come and go."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests import tiny
from tests.engines.looping import ids
from vllm_flow.core.messages import user
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Prompt, Request, Token
from vllm_flow.engines.transformers.load import load
from vllm_flow.engines.transformers.loop import Limits, Loop
from vllm_flow.engines.transformers.row import Job
from vllm_flow.models.spec import Model

ENDS = [2, *range(20, 260, 29)]
"""Ends of sequence, so many that a random model comes upon one."""
ROWS = 5
SEA = "The sea was calm that morning, and nobody on the quay would have thought of a storm. "
ASKED = [
    ("a", 30), (SEA * 3, 25), ("Why?", 1), (SEA * 3 + "And then?", 12), ("Name a planet.", 40), (SEA[:40], 2),
    ("", 9), (f"List: {SEA}", 33), ("Why?", 17), (SEA[1:] * 2, 5), ("What do bees make?", 20), (SEA * 3, 31),
]  # fmt: skip
"""Prompts and `max_tokens`: of 16 to 280 tokens, some of which begin as another does."""


def asked(text: str, tokens: int) -> Job[Request, Token]:
    how = Schedule(Sampling(temperature=0, max_tokens=tokens))
    return Job(Request(Prompt((user(text),)), how), loop=None)  # type: ignore[arg-type]  # nobody waits


def generated(network: Any, prompt: list[int], tokens: int) -> list[int]:
    """What transformers says to a prompt by itself."""
    given = torch.tensor([prompt])
    found = network.generate(
        given, attention_mask=torch.ones_like(given), max_new_tokens=tokens, do_sample=False,
        pad_token_id=0, eos_token_id=ENDS, repetition_penalty=1.0,
    )  # fmt: skip
    return found[0, len(prompt) :].tolist()


def served(loop: Loop, jobs: list[Job[Request, Token]], left: Job[Request, Token]) -> dict[Any, list[Token]]:
    """What the jobs are given, of which one comes at every step; `left` is left after its fourth token."""
    coming, found, most = deque(jobs), {one: list[Token]() for one in jobs}, 0
    while coming or not loop.idle:
        if coming:
            loop.add(coming.popleft())
        for one, item in loop.step():
            assert isinstance(item, Token), item
            found[one].append(item)
        left.cancelled = len(found[left]) > 3
        most = max(most, len(loop._in_flight()))
    assert most == ROWS
    return found


@pytest.mark.parametrize("family", [*tiny.FAMILIES, *tiny.PLAIN])
def test_answers_that_come_and_go_are_those_of_generate_alone(family: str, tmp_path: Path) -> None:
    model = tiny.build(family, tie_word_embeddings=False)  # tied, random weights say one token again and again
    folder = tiny.save(tmp_path, family, model, eos_token_id=ENDS)
    loaded = load(Model("tiny", path=str(folder)), "cpu", "float32")
    loop = Loop(loaded, Limits(rows=ROWS, prefill_tokens=100))
    jobs, left = [asked(*one) for one in ASKED], asked(SEA, 50)
    jobs.insert(4, left)
    found = served(loop, jobs, left)
    assert len(found.pop(left)) < 8
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    for job, tokens in found.items():
        prompt, limits = loaded.renderer.ids(job.request.prompt), job.request.schedule.at(0)
        assert ids(tokens) == generated(network, prompt, limits.max_tokens)
    reasons = {tokens[-1].finish.reason for tokens in found.values() if tokens[-1].finish}
    assert reasons == {"stop", "length"}
    assert max(len(set(ids(tokens))) for tokens in found.values()) > 3
    loaded.network.close()
