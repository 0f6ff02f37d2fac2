"""lm-eval's own command, where `--model vllm-flow` is known."""

import sys

import vllm_flow.adapters.lm_eval  # noqa: F401  registers the model
from vllm_flow.core.errors import FlowError

if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    try:
        cli_evaluate()
    except FlowError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
