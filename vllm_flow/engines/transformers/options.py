"""What can be set on the transformers engine. Imports no torch, so that `check` stays light."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Literal

from vllm_flow.core.options import at_least
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import Capabilities, Engine
from vllm_flow.core.sampling import Sampling
from vllm_flow.models.spec import Model

Device = Literal["auto", "cpu", "cuda", "mps"]
DType = Literal["auto", "float32", "bfloat16", "float16"]


@resource("engine/transformers", shared=True)
@dataclass(frozen=True)
class Transformers:
    """Runs a model in this process, with PyTorch and transformers."""

    model: Model
    device: Device = "auto"
    """auto takes the first there is of cuda, mps, cpu."""
    dtype: DType = "auto"
    """auto is bfloat16 on cuda that has it, float16 on mps and older cuda, float32 on cpu.

    On cpu bfloat16 decodes no faster (plain loop, one row), and only float32 promises `generate`'s greedy tokens.
    """
    threads: Annotated[int, at_least(1)] | None = None
    """How many CPU threads compute; null leaves it to PyTorch."""

    def capabilities(self) -> Capabilities:
        names = frozenset(field.name for field in dataclasses.fields(Sampling))
        return Capabilities(sampling=names, logprobs=True)

    def open(self) -> Engine:
        """Load the weights, fetching them first if need be. Raises ModelError."""
        from vllm_flow.engines.transformers.engine import TransformersEngine
        from vllm_flow.engines.transformers.load import load

        return TransformersEngine(load(self.model, self.device, self.dtype), self.threads)
