"""An lm-eval model that answers with a pipeline: registered as `vllm-flow`, and for Python `FlowLM(session)`.

lm-eval has no entry points for models, so its command does not know ours until something imports this package:
`python -m vllm_flow.adapters.lm_eval` is that command, with `--model vllm-flow` known.
"""

try:
    import lm_eval as _needed  # noqa: F401  asked for by itself, so that its absence is told and nothing else
except ModuleNotFoundError as cause:
    missing = "the package lm-eval is not installed. Install it: pip install 'vllm-flow[eval]'."
    raise ModuleNotFoundError(missing, name="lm_eval") from cause

from vllm_flow.adapters.lm_eval.model import FlowLM
from vllm_flow.adapters.lm_eval.sweep import evaluate_points

__all__ = ["FlowLM", "evaluate_points"]
