"""Quantised linear layers: weights of 4 or 8 bits on the CPU, a quarter or half of the memory, read faster at few rows.

int4: groups of 32 along the input, each with its own scale and smallest value. Weights that were quantised so before
(GGUF's Q4_1, the body of SmolLM2) come back without loss. int8: one scale for each output. Activations are not
quantised. The kernels are PyTorch's own but not public. One serves any number of rows, so that company changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vllm_flow.core.errors import ModelError
from vllm_flow.engines.transformers.options import Quantize

WHERE = "resources.engine.quantize"
GROUP = 32
INNER_K_TILES = 2
"""A layout of the kernel for GPUs; the one for CPUs takes the number and does nothing with it."""
OUTPUTS = 16
"""The kernel for int4 wants a multiple of this many outputs."""


class Int4Linear(nn.Module):
    """A linear layer with weights of 4 bits."""

    weight: Tensor
    scales: Tensor

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        groups = layer.weight.data.float().view(layer.out_features, -1, GROUP)
        low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
        scale = (high - low).clamp_(min=torch.finfo(torch.float32).tiny) / 15
        digits = ((groups - low) / scale).round_().clamp_(0, 15).to(torch.int32).flatten(1)
        self.bias = layer.bias
        packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(digits, INNER_K_TILES)
        self.register_buffer("weight", packed, persistent=False)
        # The kernel counts digits from -8, so it is given what the digit 8 stands for.
        scales = torch.cat([scale, low + 8 * scale], -1).transpose(0, 1).contiguous().to(dtype)
        self.register_buffer("scales", scales, persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        return _shaped(self._product(rows.flatten(0, -2)), rows, self.bias)

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs."""
        return self.scales.shape[1], self.scales.shape[0] * GROUP

    def dense(self) -> Tensor:
        """The weight that it multiplies by, [outputs, inputs]; made anew."""
        return self._product(torch.eye(self.shape[1], dtype=self.scales.dtype)).T

    def _product(self, rows: Tensor) -> Tensor:
        made: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(rows, self.weight, GROUP, self.scales)
        return made


class Int8Linear(nn.Module):
    """A linear layer with weights of 8 bits."""

    weight: Tensor
    scales: Tensor

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        weight = layer.weight.data.float()
        scale = weight.abs().amax(1).clamp_(min=torch.finfo(torch.float32).tiny) / 127
        self.bias = layer.bias
        self.register_buffer("weight", (weight / scale[:, None]).round_().to(torch.int8), persistent=False)
        self.register_buffer("scales", scale.to(dtype), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        made: Tensor = torch.ops.aten._weight_int8pack_mm(rows.flatten(0, -2).contiguous(), self.weight, self.scales)
        return _shaped(made, rows, self.bias)

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs."""
        return self.weight.shape[0], self.weight.shape[1]

    def dense(self) -> Tensor:
        """The weight that it multiplies by, [outputs, inputs]; made anew."""
        return self.weight.to(self.scales.dtype) * self.scales[:, None]


def _shaped(made: Tensor, rows: Tensor, bias: Tensor | None) -> Tensor:
    made = made.view(*rows.shape[:-1], -1)
    return made if bias is None else made + bias


def _groups(layer: nn.Linear) -> int:
    return layer.weight.numel() // GROUP


def _fits_int4(layer: nn.Linear) -> bool:
    return layer.in_features % GROUP == 0 and layer.out_features % OUTPUTS == 0


class Kind(NamedTuple):
    """One way to quantise linear layers."""

    made: Callable[[nn.Linear, torch.dtype], nn.Module]
    fits: Callable[[nn.Linear], bool]
    weight_bytes: Callable[[nn.Linear, int], int]
    """Of a layer and the bytes of a number that computes: what is kept in place of the weight, scales included."""


KINDS: dict[Quantize, Kind] = {
    "int4": Kind(Int4Linear, _fits_int4, lambda layer, size: layer.weight.numel() // 2 + _groups(layer) * 2 * size),
    "int8": Kind(Int8Linear, lambda _: True, lambda layer, size: layer.weight.numel() + layer.out_features * size),
}


def quantise(model: Any, kind: Quantize, dtype: torch.dtype) -> int:
    """Replace the linear layers of a model in place; returns how many. What computes is then in `dtype`.

    model: its weights as exact as they are to be had. Its head stays, which costs little time and most of the loss
    (SmolLM2: KL 0.05 with it, 0.0000 without); so do layers whose shape the kernel does not take. Raises ModelError
    where nothing can be quantised.
    """
    if model.device.type != "cpu":
        raise ModelError(f"{WHERE}: {kind} runs on the CPU only, and this is {model.device}. Set device=cpu, or null.")
    made, replacements = KINDS[kind].made, dict[nn.Linear, nn.Module]()
    for module, name, layer in _places(model, kind):
        if layer not in replacements:  # a decoder layer that runs twice shares its linear layers
            replacements[layer] = made(layer, dtype)
        setattr(module, name, replacements[layer])
    return len(replacements)


def _places(model: Any, kind: Quantize) -> list[tuple[nn.Module, str, nn.Linear]]:
    """Each linear layer that is to be quantised, its owner before it. Raises ModelError where there is none."""
    fits, head = KINDS[kind].fits, model.get_output_embeddings()
    found = [
        (module, name, layer)
        for module in model.modules()
        for name, layer in module.named_children()
        if type(layer) is nn.Linear and layer is not head and fits(layer)
    ]
    if not found:
        raise ModelError(f"{WHERE}: none of {type(model).__name__}'s layers can be {kind}. Set it to null.")
    return found


def weight_bytes(model: Any) -> int:
    """Of parameters and of what quantised layers keep instead; each tensor once, however many layers share it."""
    kept = [*model.parameters()]
    for layer in model.modules():
        if isinstance(layer, Int4Linear | Int8Linear):
            kept += layer.buffers(recurse=False)
    return sum({id(one): one.nbytes for one in kept}.values())


def foreseen_bytes(model: Any, kind: Quantize | None, dtype: torch.dtype) -> int:
    """What `weight_bytes` will be once the model is quantised and in `dtype`; its weights need not be there.

    Raises ModelError where nothing can be quantised.
    """
    layers = {layer for _, _, layer in _places(model, kind)} if kind else set()
    kept = [KINDS[kind].weight_bytes(layer, dtype.itemsize) for layer in layers] if kind else []
    weights = {id(layer.weight) for layer in layers}
    others: int = sum(one.numel() for one in model.parameters() if id(one) not in weights)
    return sum(kept) + others * dtype.itemsize
