"""Decoder layers: running a choice of them, for good or for one call.

A layer that runs several times has its weights once, and keys and values of its own each time: it is copied around the
modules that hold its weights, and numbered by its new place, which is where the KV cache looks for them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from vllm_flow.models.layers import check_layers


@dataclass(frozen=True, slots=True)
class LayerList:
    """Where a model keeps its decoder layers."""

    owner: nn.Module
    name: str
    """The attribute of `owner` that holds them."""
    layers: nn.ModuleList

    def replace(self, layers: nn.ModuleList) -> None:
        setattr(self.owner, self.name, layers)


def count_layers(model: Any) -> int:
    """How many decoder layers the model says it has; 0 when it does not say."""
    return int(getattr(model.config.get_text_config(), "num_hidden_layers", 0) or 0)


def keep_layers(model: Any, layers: Sequence[int]) -> None:
    """Let only these layers run from now on, in this order; those left out are forgotten. Raises ValueError."""
    place = find_layers(model)
    check_layers(layers, len(place.layers))
    place.replace(_chosen(place.layers, layers))
    for name, value in _configured(model, layers).items():
        setattr(model.config.get_text_config(), name, value)


@contextmanager
def only_layers(model: Any, layers: Sequence[int]) -> Iterator[None]:
    """Let only these layers run, without a cache, until the block ends. Raises ValueError."""
    place, config = find_layers(model), model.config.get_text_config()
    check_layers(layers, len(place.layers))
    wanted = _configured(model, layers)
    before = {name: getattr(config, name) for name in wanted}
    place.replace(_chosen(place.layers, layers))
    try:
        for name, value in wanted.items():
            setattr(config, name, value)
        yield
    finally:
        place.replace(place.layers)
        for name, value in before.items():
            setattr(config, name, value)


def find_layers(model: Any) -> LayerList:
    """The one list that has as many modules as the model has layers, each with its number. Raises ValueError."""
    count = count_layers(model)
    found = [
        LayerList(owner, name, layers)
        for owner in model.modules()
        for name, layers in owner.named_children()
        if isinstance(layers, nn.ModuleList) and len(layers) == count and _numbered(layers)
    ]
    if len(found) != 1 or getattr(model.config.get_text_config(), "num_kv_shared_layers", None):
        raise ValueError(f"the layers of a {type(model).__name__} depend on each other. Leave it out.")
    return found[0]


def _numbered(layers: nn.ModuleList) -> bool:
    return all(
        any(getattr(module, "layer_idx", None) == place for module in layer.modules())
        for place, layer in enumerate(layers)
    )


def _chosen(layers: nn.ModuleList, chosen: Sequence[int]) -> nn.ModuleList:
    return nn.ModuleList([_placed(layers[one], place) for place, one in enumerate(chosen)]).train(layers.training)


def _placed(layer: nn.Module, place: int) -> Any:
    """The layer at another place: new are only those of its modules that have a number in them."""
    shared: dict[int, Any] = {id(one): one for one in layer.modules() if not any(map(_number, one.modules()))}
    shared |= {id(one): one for one in (*layer.parameters(), *layer.buffers())}
    shared |= {id(one.config): one.config for one in layer.modules() if hasattr(one, "config")}
    placed = copy.deepcopy(layer, shared)
    numbered: list[Any] = [one for one in placed.modules() if _number(one)]
    for module in numbered:
        module.layer_idx = place
    return placed


def _number(module: nn.Module) -> bool:
    return isinstance(getattr(module, "layer_idx", None), int)


def _configured(model: Any, layers: Sequence[int]) -> dict[str, Any]:
    """What of the configuration changes: the number of layers, and every list that has an item for each of them."""
    config, count = model.config.get_text_config(), count_layers(model)
    of_each = {
        name: [value[one] for one in layers]
        for name, value in config.to_dict().items()
        if "layer" in name and isinstance(value, list | tuple) and len(value) == count
    }
    return {"num_hidden_layers": len(layers), **of_each}
