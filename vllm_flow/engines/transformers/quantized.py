"""Quantised linear layers: weights of 4 or 8 bits on the CPU, a quarter or half of the memory, read faster at few rows.

int4: groups of 32 along the input, each with its own scale and smallest value. Weights that were quantised so before
(GGUF's Q4_1, the body of SmolLM2) come back without loss. int8: one scale for each output. Activations stay as they are.
The kernels are PyTorch's own but not public. One kernel serves any number of rows, so that company changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vllm_flow.core.errors import ModelError
from vllm_flow.engines.transformers.options import Quantize

GROUP = 32
INNER_K_TILES = 2
"""A layout of the kernel for GPUs; the one for CPUs takes the number and does nothing with it."""
OUTPUTS = 16
"""The kernel for int4 wants a multiple of this many outputs."""


class Int4Linear(nn.Module):
    """A linear layer with weights of 4 bits."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        groups = layer.weight.data.float().unflatten(1, (-1, GROUP))
        low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
        scale = (high - low).clamp_(min=torch.finfo(torch.float32).tiny) / 15
        digits = ((groups - low) / scale).round_().clamp_(0, 15).to(torch.int32).flatten(1)
        self.bias = layer.bias
        self._weight: Tensor = torch.ops.aten._convert_weight_to_int4pack_for_cpu(digits, INNER_K_TILES)
        # The kernel counts digits from -8, so it is given what the digit 8 stands for.
        self._scales = torch.cat([scale, low + 8 * scale], -1).transpose(0, 1).contiguous().to(dtype)

    def forward(self, rows: Tensor) -> Tensor:
        flat = rows.flatten(0, -2)
        made: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(flat, self._weight, GROUP, self._scales)
        return _shaped(made, rows, self.bias)


class Int8Linear(nn.Module):
    """A linear layer with weights of 8 bits."""

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        weight = layer.weight.data.float()
        scale = weight.abs().amax(1).clamp_(min=torch.finfo(torch.float32).tiny) / 127
        self.bias = layer.bias
        self._weight = (weight / scale[:, None]).round_().to(torch.int8)
        self._scales = scale.to(dtype)

    def forward(self, rows: Tensor) -> Tensor:
        made: Tensor = torch.ops.aten._weight_int8pack_mm(rows.flatten(0, -2).contiguous(), self._weight, self._scales)
        return _shaped(made, rows, self.bias)


def _shaped(made: Tensor, rows: Tensor, bias: Tensor | None) -> Tensor:
    made = made.unflatten(0, rows.shape[:-1])
    return made if bias is None else made + bias


def _fits_int4(layer: nn.Linear) -> bool:
    return layer.in_features % GROUP == 0 and layer.out_features % OUTPUTS == 0


KINDS: dict[Quantize, tuple[Callable[[nn.Linear, torch.dtype], nn.Module], Callable[[nn.Linear], bool]]] = {
    "int4": (Int4Linear, _fits_int4),
    "int8": (Int8Linear, lambda layer: True),
}


def quantize(model: Any, kind: Quantize, dtype: torch.dtype) -> int:
    """Replace the linear layers of a model in place, its head too; returns how many. What computes is then in `dtype`.

    model: its weights as exact as they are to be had. Layers whose shape the kernel does not take stay. Raises
    ModelError where nothing can be quantised.
    """
    where = "resources.engine.quantize"
    if model.device.type != "cpu":
        raise ModelError(f"{where}: {kind} runs on the CPU only, and this is {model.device}. Set device=cpu, or null.")
    made, fits = KINDS[kind]
    replaced = 0
    for module in list(model.modules()):
        for name, layer in list(module.named_children()):
            if type(layer) is nn.Linear and fits(layer):
                setattr(module, name, made(layer, dtype))
                replaced += 1
    if not replaced:
        raise ModelError(f"{where}: none of {type(model).__name__}'s layers can be {kind}. Set it to null.")
    return replaced
