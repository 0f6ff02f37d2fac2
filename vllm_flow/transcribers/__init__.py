"""Models that write down what is said. Importing this package registers them; it imports no torch."""

from vllm_flow.transcribers.options import Whisper

__all__ = ["Whisper"]
