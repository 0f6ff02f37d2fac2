"""lm-eval's own command, where `--model vllm-flow` is known."""

import vllm_flow.adapters.lm_eval  # noqa: F401  registers the model

if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
