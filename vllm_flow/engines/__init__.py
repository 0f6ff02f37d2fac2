"""The built-in engines. Importing this package registers their options; it imports no torch."""

from vllm_flow.engines.echo import Echo, EchoEngine
from vllm_flow.engines.llama_cpp.options import LlamaCpp
from vllm_flow.engines.openai.options import OpenAI
from vllm_flow.engines.transformers.options import Transformers
from vllm_flow.engines.vllm.options import Vllm

__all__ = ["Echo", "EchoEngine", "LlamaCpp", "OpenAI", "Transformers", "Vllm"]
