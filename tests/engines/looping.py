"""Requests put through a loop by hand, and what it gives them."""

from __future__ import annotations

from typing import Any

from vllm_flow.core.messages import user
from vllm_flow.core.sampling import Sampling
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.values import Prompt, Request, Token
from vllm_flow.engines.transformers.loop import Loop
from vllm_flow.engines.transformers.row import Job
from vllm_flow.models.spec import Architecture

Logits = dict[tuple[int, int], bytes]
"""What each token of each seed was drawn from."""
SHAPE = Architecture(32, 2, 4, kv_heads=2, max_context=600)
LONG = "The sea was calm that morning, and nobody on the quay would have thought of a storm. " * 2
"""Longer than two pieces of a prompt."""

STRIPPING = (
    "{% for one in messages %}<|im_start|>{{ one['role'] }}\n"
    "{{ one['content'] if loop.index >= loop.length - 1 else one['content'].split('</think>')[-1] }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n"
)
"""Leaves the reasoning out of all answers but the last, as templates of reasoning models do."""


def job(text: str, seed: int = 0, tokens: int = 6, **sampling: Any) -> Job:
    how = Schedule(Sampling(**{"top_p": 0.9, "max_tokens": tokens, **sampling}))
    return Job(Request(Prompt((user(text),)), how, seed=seed), loop=None)  # type: ignore[arg-type]  # nobody waits


def run(loop: Loop, jobs: list[Job], every: int = 0) -> dict[Job, list[Token]]:
    """What the jobs are given. They come all at once, or one at each `every` steps."""
    waiting, found = list(jobs), {one: [] for one in jobs}
    step = 0
    while waiting or not loop.idle:
        if waiting and (not every or step % every == 0):
            for one in waiting if not every else waiting[:1]:
                loop.add(one)
            waiting = [] if not every else waiting[1:]
        for one, item in loop.step():
            if isinstance(item, Exception):
                raise item
            found[one].append(item)
        step += 1
    return found


def ids(tokens: list[Token]) -> list[int]:
    return [token.id for token in tokens]
