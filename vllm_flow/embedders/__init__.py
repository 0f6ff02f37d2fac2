"""Models that turn texts into vectors. Importing this package registers them; it imports no torch."""

from vllm_flow.embedders.options import Sentences

__all__ = ["Sentences"]
