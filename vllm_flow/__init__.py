"""vllm-flow: run language models as configured, repeatable pipelines."""

__version__ = "0.1.0"
