"""Where vLLM lets others touch its logits: a class that it makes an instance of, and asks before each token."""

from __future__ import annotations

from vllm import SamplingParams
from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from vllm_flow.engines.vllm.steering import Steering

KEY = "vllm_flow.steering"
"""Of `extra_args`, where an answer that is steered has its Steering."""


class Steered(AdapterLogitsProcessor):  # type: ignore[misc]  # vLLM is not there when this is checked
    """Hands each answer's logits to its Steering."""

    def is_argmax_invariant(self) -> bool:
        """It is not, but what says so is asked last, and never for a greedy answer: these are none to vLLM."""
        return True

    def new_req_logits_processor(self, params: SamplingParams) -> Steering | None:
        return (params.extra_args or {}).get(KEY)
