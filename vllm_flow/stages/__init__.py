"""The built-in stages, one role per file. Importing this package registers them; it imports no torch."""

from vllm_flow.stages import context, fuse, infer, schedule, score, select

__all__ = ["context", "fuse", "infer", "schedule", "score", "select"]
