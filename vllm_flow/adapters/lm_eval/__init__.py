"""An lm-eval model that answers with a pipeline: registered as `vllm-flow`, and for Python `FlowLM(session)`.

lm-eval has no entry points for models, so its command does not know ours until something imports this package:
`python -m vllm_flow.adapters.lm_eval` is that command, with `--model vllm-flow` known.
"""

from vllm_flow.adapters.lm_eval.model import FlowLM
from vllm_flow.adapters.lm_eval.sweep import evaluate_points

__all__ = ["FlowLM", "evaluate_points"]
