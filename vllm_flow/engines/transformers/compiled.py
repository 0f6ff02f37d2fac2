"""Compiled decoding of a single row: each layer one machine-code function that PyTorch's compiler makes.

A lone row multiplies matrices by a vector. Written as a plain sum, the compiler makes loops of it that read the weights
once, at the speed of memory, and puts norms, rotary positions and attention around them without a call between. All
layers share one function, which takes their weights as arguments, so it is compiled once, in seconds, and kept in the
user's cache. Quantised layers keep their kernels, which read as fast, and so does the head. From two rows on matrix
kernels are faster: those steps take the usual way, and round otherwise.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import platform
import sys
import warnings
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Many
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vllm_flow.core.errors import ModelError
from vllm_flow.engines.transformers import lean, quantized
from vllm_flow.engines.transformers.attention import Look
from vllm_flow.engines.transformers.kv import STEP
from vllm_flow.engines.transformers.slots import Sequence, Slots
from vllm_flow.models.cache import made_once
from vllm_flow.models.packed import Replaced
from vllm_flow.models.progress import tell

Function = Callable[[list[Tensor]], list[Tensor]]
WHERE = "resources.engine.compile"
NAME = "function.pt2"
SLOTS, LENGTH = 5, 3 * STEP
"""Of the example that is compiled; the function takes any."""


class Product(nn.Module):
    """A linear layer for one row, as a sum that the compiler turns into a loop of its own."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, row: Tensor) -> Tensor:
        made = (self.weight.float() * row.float()).sum(-1)[None]
        return (made if self.bias is None else made + self.bias.float()).to(row.dtype)


class Block(nn.Module):
    """One layer for the newest token of one sequence, which lies in slots."""

    def __init__(self, layer: Any, look: Look) -> None:
        super().__init__()
        self.layer, self.look = layer, look

    def forward(  # noqa: PLR0917  what a compiled function takes is a list
        self, hidden: Tensor, cos: Tensor, signed: Tensor, slot: Tensor, position: Tensor, keys: Tensor, values: Tensor
    ) -> Tensor:
        """hidden: [1, hidden size]; slot, position: int64 [1]; keys, values: planes of slots, written to."""

        def attend(look: Look, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            keys[slot, :, position] = key
            values[slot, :, position] = value
            seen, told = keys[slot].transpose(0, 1).float(), values[slot].transpose(0, 1).float()
            heads = query.reshape(key.shape[1], -1, 1, query.shape[-1])  # those that share a key beside each other
            scores = (heads.float() * seen).sum(-1) * look.scale
            places = torch.arange(keys.shape[2], device=keys.device)
            unseen = places > position
            if look.window is not None:
                unseen = unseen | (places <= position - look.window)
            shares = scores.masked_fill(unseen, -torch.inf).softmax(-1)
            return (shares[..., None] * told).sum(-2).to(query.dtype).reshape(1, query.shape[1], -1)

        return lean.block(self.layer, self.look, hidden, (cos, signed), attend)


class Compiled:
    """The forward pass of one row of one model."""

    def __init__(self, model: Any, looks: Many[Look], replaced: Many[Replaced]) -> None:
        """replaced: the layers as they were before packing, whose weights are used. Raises ModelError."""
        self._decoder, self._head = model.model, model.lm_head  # the head is packed: no loop reads it faster
        plain = {id(getattr(module, name)): layer for module, name, layer in replaced}
        one = torch.zeros(1, dtype=torch.long)
        row = model.model.embed_tokens(one).detach()
        rope = [part.detach() for part in lean.rope_of(model.model, row, one)]
        functions: dict[tuple[int | None, float], Function] = {}
        self._layers: list[tuple[Function, int, list[Tensor]]] = []
        for layer, look in zip(model.model.layers, looks, strict=True):
            block, kind = Block(_of_products(layer, plain), look), (look.window, look.scale)
            if kind not in functions:
                attention: Any = block.layer.self_attn
                heads = attention.k_proj.weight.shape[0] // attention.head_dim
                planes = [row.new_zeros(SLOTS, heads, LENGTH, attention.head_dim) for _ in range(2)]
                functions[kind] = made(block, [row, *rope, one, one.clone(), *planes], str(kind))
            self._layers.append((functions[kind], look.layer, _weights(block)))

    def __call__(self, token_id: int, sequence: Sequence, slots: Slots) -> Tensor:
        """The logits after one more token of a sequence that lies in slots, [1, vocab]."""
        token, slot, position = (torch.tensor([number]) for number in (token_id, sequence.slot, sequence.length))
        hidden = self._decoder.embed_tokens(token)
        shared = [*lean.rope_of(self._decoder, hidden, position), slot, position]
        for function, layer, weights in self._layers:
            # It was compiled for two slots or more; of one that is alone it sees, and writes, no other.
            planes = (plane.expand(max(2, len(plane)), -1, -1, -1) for plane in slots.planes[2 * layer : 2 * layer + 2])
            hidden = function([hidden, *shared, *planes, *weights])[0]
        logits: Tensor = self._head(lean.normed(self._decoder.norm, hidden))
        return logits


def _product(layer: nn.Module) -> nn.Module:
    if isinstance(layer, quantized.Int4Linear | quantized.Int8Linear):
        return layer
    if type(layer) is not nn.Linear:
        raise ModelError(f"{WHERE}: a layer of the kind {type(layer).__name__} cannot be compiled. Choose false.")
    return Product(layer)


def _of_products(module: nn.Module, plain: Mapping[int, nn.Module]) -> Any:
    """The module again, on the same weights, its linear layers as products."""
    twin = copy.copy(module)
    twin._modules = {
        name: _product(plain.get(id(child), child)) if name.endswith("_proj") else _of_products(child, plain)
        for name, child in module.named_children()
    }
    return twin


def _weights(module: nn.Module) -> list[Tensor]:
    return [weight.detach() for _, weight in _named(module)]


def _named(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters, and what quantised layers have instead."""
    return [*module.named_parameters(), *module.named_buffers()]


def made(module: nn.Module, inputs: list[Tensor], kind: str) -> Function:
    """The module as a function of its inputs and then its parameters, from the cache or compiled. Raises ModelError.

    What decides about the code, and is no shape, must be in `kind` or in the norms.
    """
    weights = _weights(module)
    parts = (
        kind, torch.__version__, platform.platform(), torch.get_num_threads(), torch.backends.cpu.get_cpu_capability(),
        sorted(getattr(torch.cpu, "get_capabilities", dict)().items()),
        *(inspect.getsource(module) for module in (sys.modules[__name__], lean, quantized)),
        [(str(one.dtype), list(one.shape)) for one in (*inputs, *weights)],
        [one.variance_epsilon for one in module.modules() if hasattr(one, "variance_epsilon")],
    )  # fmt: skip
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    folder = made_once(f"compiled/{key}", lambda folder, _: _compile(module, inputs, weights, folder))
    # What torch._inductor.aoti_load_package ends in: that looks for a compiler first, which only making needs.
    loader: Any = torch._C._aoti.AOTIModelPackageLoader(str(folder / NAME), "model", False, 1, -1)
    function: Function = loader.run
    return function


class _WithWeights(nn.Module):
    """A module whose parameters are given behind its inputs."""

    def __init__(self, module: nn.Module, inputs: int) -> None:
        super().__init__()
        self._call: Any = lambda given, weights: torch.func.functional_call(module, weights, given)
        self._names, self._inputs = [name for name, _ in _named(module)], inputs

    def forward(self, *given: Tensor) -> Any:
        weights = dict(zip(self._names, given[self._inputs :], strict=True))
        return self._call(given[: self._inputs], weights)


def _compile(module: nn.Module, inputs: list[Tensor], weights: list[Tensor], folder: Path) -> None:
    step = f"compile the decoding of one row: {type(module).__name__.lower()}"
    tell(step, 0, 1)
    dim: Any = torch.export.Dim
    slots, length = dim("slots", min=2), dim("length", min=STEP)
    given = (*inputs, *weights)
    moving = tuple({0: slots, 2: length} if one.ndim == 4 else None for one in given)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # PyTorch's own, about its own code
            program = torch.export.export(
                _WithWeights(module, len(inputs)), given, dynamic_shapes=(moving,), strict=False
            )
            torch._inductor.aoti_compile_and_package(program, package_path=str(folder / NAME))
    except Exception as cause:  # whatever the compiler of PyTorch and that of C++ raise
        first = str(cause).strip().partition("\n")[0].rstrip(".")
        problem = "no C++ compiler is found" if "InvalidCxxCompiler" in first else f"it cannot be compiled: {first}"
        raise ModelError(f"{WHERE}: {problem}. Install one, such as g++, or choose false.") from cause
    tell(step, 1, 1)
