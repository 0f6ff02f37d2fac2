"""Likelihood: what the model thought of its own answer. A diagnostic, and no judgement of the text."""

from __future__ import annotations

import math

from vllm_flow.core.answers import Answer
from vllm_flow.core.registry import metric


@metric("likelihood/perplexity")
def perplexity(answer: Answer) -> float | None:
    """The model's perplexity on its own answer, under the unmodified logits: exp(-mean log-probability).

    It needs `graph.reply.logprobs=true`, or a pipeline that scores texts. No axis of quality: the likeliest text is
    dull and repeats itself (Holtzman et al. 2020, arXiv:1904.09751), and temperature alone moves it.
    """
    if not answer.logprobs:
        return None
    return math.exp(-math.fsum(answer.logprobs) / len(answer.logprobs))
