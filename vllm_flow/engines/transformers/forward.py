"""A forward pass from Python: one call of the model as transformers defines it, with any mask, positions and layers.

The network that generates gives the model an attention of its own, which knows no masks. For this one call the model
gets back what it had, so that nothing has to be loaded twice; the engine's thread sees to it that nobody generates
meanwhile.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vllm_flow.engines.transformers.inputs import Inputs, wrong
from vllm_flow.engines.transformers.layers import only_layers


@dataclass(frozen=True, eq=False)
class Forward:
    """What a forward pass gives; tensors on the CPU, float32."""

    logits: Tensor
    """[batch, tokens, vocab]."""
    hidden_states: tuple[Tensor, ...] | None = None
    """[batch, tokens, width] each: what enters the first layer, then what leaves each; the last one after the norm."""
    attentions: tuple[Tensor, ...] | None = None
    """[batch, heads, tokens, tokens] for each layer: how much a token (third axis) takes from each other (fourth)."""


@torch.no_grad()
def forward(model: Any, own_attention: str, inputs: Inputs) -> Forward:
    """The model's answer. own_attention: what transformers calls the attention it has by itself."""
    if inputs.layers is not None and (inputs.hidden_states or inputs.attentions):
        # The first such call puts hooks on the layers it meets: they must be the model's own, not those of this call.
        first = replace(inputs, layers=None, ids=inputs.ids[:1, :1], mask=None, positions=None)
        forward(model, own_attention, first)
    with ExitStack() as meanwhile:
        # Only written out does attention say what it looked at.
        meanwhile.enter_context(with_attention(model, "eager" if inputs.attentions else own_attention))
        if inputs.layers is not None:
            meanwhile.enter_context(_only(model, inputs.layers))
        found = model(**_keywords(model, inputs))
    return Forward(
        _plain(found.logits),
        _several(model, found, "hidden_states") if inputs.hidden_states else None,
        _several(model, found, "attentions") if inputs.attentions else None,
    )


@contextmanager
def _only(model: Any, layers: tuple[int, ...]) -> Iterator[None]:
    with ExitStack() as meanwhile:
        try:
            meanwhile.enter_context(only_layers(model, layers))
        except ValueError as problem:
            raise wrong("layers", str(problem)) from None
        yield


@contextmanager
def with_attention(model: Any, name: str) -> Iterator[None]:
    """Meanwhile the model has this attention, by the name that transformers has for it."""
    before = model.config._attn_implementation
    if name == before:
        yield
        return
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _keywords(model: Any, inputs: Inputs) -> dict[str, Any]:
    takes, device = inspect.signature(model.forward).parameters, model.device
    rows, tokens = inputs.ids.shape
    # Left out, it would be guessed from positions that begin anew: what is not asked for is not done.
    mask = torch.ones_like(inputs.ids) if inputs.mask is None else inputs.mask
    positions = inputs.positions
    if mask.ndim == 4:
        _check_looks_at_masks(model)
        mask = torch.zeros(mask.shape, dtype=model.dtype).masked_fill(~mask.bool(), torch.finfo(model.dtype).min)
        if positions is None and "position_ids" in takes:  # from such a mask no model can count them
            positions = torch.arange(tokens).expand(rows, tokens)
    named = {"attention_mask": mask, "position_ids": positions}
    for name, given in (("attention_mask", inputs.mask), ("position_ids", inputs.positions)):
        if given is not None and name not in takes:
            raise wrong(name, f"a {type(model).__name__} takes none. Leave it out.")
    tensors = {name: one.to(device) for name, one in named.items() if name in takes and one is not None}
    outputs = {"output_hidden_states": inputs.hidden_states, "output_attentions": inputs.attentions}
    outputs = {name: True for name, asked in outputs.items() if asked}
    return {"input_ids": inputs.ids.to(device), **tensors, **outputs, "use_cache": False}


def _check_looks_at_masks(model: Any) -> None:
    if not getattr(model, "_supports_attention_backend", False):
        problem = f"a {type(model).__name__} does not look at a mask of tokens by tokens"
        raise wrong("attention_mask", f"{problem}. Give one of [batch, tokens].")


def _several(model: Any, found: Any, name: str) -> tuple[Tensor, ...]:
    given: Sequence[Tensor | None] = getattr(found, name, None) or ()
    if not given or any(one is None for one in given):
        raise wrong(name, f"a {type(model).__name__} does not give them. Leave it out.")
    return tuple(_plain(one) for one in given if one is not None)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.float().cpu()
