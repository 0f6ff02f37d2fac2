"""The built-in engines. Importing this package registers their options; it imports no torch."""

from vllm_flow.engines import echo
from vllm_flow.engines.transformers import options

__all__ = ["echo", "options"]
