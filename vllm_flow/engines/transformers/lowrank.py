"""Adapters of low rank beside linear layers, whatever the layers became when they were packed or quantised.

A layer is exchanged for one that knows the matrices only while a call wants them, so a model without an adapter is what
it was, to the bit and to the microsecond. The matrices and what they make are float32 on top of any base.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Sequence as Many
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from vllm_flow.core.errors import EngineError, listed
from vllm_flow.engines.transformers.quantized import Int4Linear, Int8Linear
from vllm_flow.models.packed import REFUSALS, PackedLinear, PackedPart

PLAIN = (nn.Linear, Conv1D)
"""Those that give gradients by themselves."""
LINEAR = (*PLAIN, PackedLinear, PackedPart, Int4Linear, Int8Linear)


class Pair(NamedTuple):
    """The two matrices beside one layer, float32."""

    down: Tensor
    """[rank, inputs]: LoRA's A."""
    up: Tensor
    """[outputs, rank]: LoRA's B."""


@dataclass(frozen=True, eq=False)
class LowRank:
    """An adapter's numbers."""

    pairs: Mapping[str, Pair]
    """By the layer's name in the model."""
    scale: float
    """What the matrices make is multiplied by it."""


class Place(NamedTuple):
    """Where a linear layer stands."""

    owner: nn.Module
    name: str
    layer: nn.Module


def places(model: Any) -> dict[str, Place]:
    """Every linear layer, the head too, by its name in the model."""
    return {
        f"{above}.{name}" if above else name: Place(owner, name, layer)
        for above, owner in model.named_modules()
        for name, layer in owner.named_children()
        if isinstance(layer, LINEAR) and not isinstance(owner, PackedPart)
    }


def targeted(model: Any, targets: tuple[str, ...]) -> dict[str, Place]:
    """The layers that are meant, by name or by the end of it; all but the head where none is. Raises EngineError."""
    head = model.get_output_embeddings()
    body = {name: place for name, place in places(model).items() if place.layer is not head}
    for one in targets:
        if not any(_ends(name, one) for name in body):
            ends = listed({place.name for place in body.values()})
            raise EngineError(f"targets: this model has no linear layer '{one}'. There are: {ends}.")
    return {name: place for name, place in body.items() if not targets or any(_ends(name, one) for one in targets)}


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def shape_of(layer: Any) -> tuple[int, int]:
    """Outputs and inputs."""
    if isinstance(layer, Conv1D):
        return layer.weight.shape[1], layer.weight.shape[0]
    return (layer.out_features, layer.in_features) if isinstance(layer, nn.Linear) else layer.shape


class Through(torch.autograd.Function):
    """What a layer makes of rows, with a gradient for the rows, which the kernels of packed layers do not give."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, layer: PackedLinear | PackedPart | Int4Linear | Int8Linear) -> Tensor:
        ctx.layer = layer
        made: Tensor = layer(rows)
        return made

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (grad,) = grads
        return grad @ ctx.layer.dense().to(grad.dtype), None


through: Callable[[Tensor, nn.Module], Tensor] = Through.apply


class Learning(nn.Module):
    """A layer while something is learned: gradients go through it, and to the matrices that it may have."""

    def __init__(self, layer: nn.Module, pair: Pair | None, scale: float) -> None:
        super().__init__()
        self._parts = layer, pair, scale  # in a tuple: they are no modules and no parameters of this one

    def forward(self, rows: Tensor) -> Tensor:
        layer, pair, scale = self._parts
        made: Tensor = layer(rows) if isinstance(layer, PLAIN) else through(rows, layer)
        if pair is None:
            return made
        return made + (linear(linear(rows.float(), pair.down), pair.up) * scale).to(made.dtype)


class Beside(nn.Module):
    """A layer with its matrices, ready to be read with."""

    def __init__(self, layer: nn.Module, pair: Pair, scale: float) -> None:
        super().__init__()
        self._layer = (layer,)
        self.down, self.up = _fixed(pair.down), _fixed(pair.up * scale)

    def forward(self, rows: Tensor) -> Tensor:
        made: Tensor = self._layer[0](rows)
        beside: Tensor = self.up(self.down(rows.float()))
        return made + beside.to(made.dtype)


def _fixed(weight: Tensor) -> nn.Module:
    """A linear layer; on the CPU packed, whose rounding does not depend on how many rows there are."""
    if weight.device.type == "cpu":
        with suppress(*REFUSALS):
            return PackedLinear(weight.contiguous(), None)
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(weight, requires_grad=False)
    return layer


class Ready:
    """An adapter whose layers are made; `on` puts them in place."""

    def __init__(self, model: Any, adapter: LowRank) -> None:
        """Raises EngineError when the adapter is another model's."""
        there = places(model)
        for name, pair in adapter.pairs.items():
            if name not in there or shape_of(there[name].layer) != (pair.up.shape[0], pair.down.shape[1]):
                raise EngineError(
                    f"the adapter was learned by another model: '{name}' differs. Choose that model again."
                )
        self._exchanges = list(_exchanges(there, adapter))
        self.bytes = 2 * sum(one.nbytes for pair in adapter.pairs.values() for one in pair)
        """Of its matrices as they were given, and packed."""

    @contextmanager
    def on(self) -> Iterator[None]:
        with exchanged(self._exchanges):
            yield


def _exchanges(there: Mapping[str, Place], adapter: LowRank) -> Iterator[tuple[Place, nn.Module]]:
    """What stands in for the layers: for those that are columns of one matrix, columns of one again."""
    together = defaultdict[Any, dict[str, Place]](dict)
    for name, place in there.items():
        if isinstance(place.layer, PackedPart):
            together[place.layer.whole][name] = place
        elif name in adapter.pairs:
            yield place, Beside(place.layer, adapter.pairs[name], adapter.scale)
    for whole, parts in together.items():
        pairs = {name: adapter.pairs[name] for name in parts if name in adapter.pairs}
        if not pairs:
            continue
        up = next(iter(pairs.values())).up
        wide, used = up.new_zeros(whole.shape[0], sum(len(pair.down) for pair in pairs.values())), 0
        for name, pair in pairs.items():
            wide[_columns(parts[name]), used : used + len(pair.down)] = pair.up
            used += len(pair.down)
        beside = Beside(whole, Pair(torch.cat([pair.down for pair in pairs.values()]), wide), adapter.scale)
        yield from ((place, PackedPart(beside, _columns(place))) for place in parts.values())


def _columns(place: Place) -> slice:
    columns: slice = place.layer.columns  # type: ignore[assignment]  # of a PackedPart
    return columns


@contextmanager
def learning(model: Any, adapter: LowRank) -> Iterator[None]:
    """Meanwhile gradients go through the model, and to the adapter's matrices."""
    made = [
        (place, Learning(place.layer, adapter.pairs.get(name), adapter.scale))
        for name, place in places(model).items()
        if name in adapter.pairs or not isinstance(place.layer, PLAIN)
    ]
    with exchanged(made):
        yield


@contextmanager
def exchanged(layers: Many[tuple[Place, nn.Module]]) -> Iterator[None]:
    """Meanwhile these stand in for the layers that are there."""
    try:
        for place, other in layers:
            setattr(place.owner, place.name, other)
        yield
    finally:
        for place, _ in layers:
            setattr(place.owner, place.name, place.layer)


def begun(
    layers: Mapping[str, Place], rank: int, scale: float, device: torch.device, seed: Callable[[str], int]
) -> LowRank:
    """An adapter that changes nothing yet: `up` is 0, and `down` drawn from U(-1/sqrt(inputs), 1/sqrt(inputs))."""
    pairs = {}
    for name, place in layers.items():
        outputs, inputs = shape_of(place.layer)
        drawn = torch.rand(rank, inputs, generator=torch.Generator().manual_seed(seed(name)))
        down = (2 * drawn - 1) * inputs**-0.5
        pairs[name] = Pair(down.to(device), torch.zeros(outputs, rank, device=device))
    return LowRank(pairs, scale)
