"""Attention over the KV cache, as a function that transformers' models call in place of their own.

A model is called with the tokens of many sequences in one line; what keeps them apart is here. Its linear layers see
one matrix of all tokens, and so read the weights once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from vllm_flow.engines.transformers.kv import Sequence, Slots

UNDERSTOOD = frozenset({"position_ids", "use_cache", "is_causal", "output_attentions", "cache_position"})
"""Keywords of models that change nothing here. Any other that is set means more than this attention does."""


class Chunk:
    """Some tokens of one sequence whose prompt is being read."""

    def __init__(self, tokens: slice, sequence: Sequence, device: torch.device) -> None:
        self.tokens = tokens
        self._planes = sequence.planes
        self._start, self._end = sequence.length, sequence.length + tokens.stop - tokens.start
        self._mask = _masks(torch.arange(self._start, self._end, device=device)[None], self._end)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, window: int | None, **how: Any) -> Tensor:
        """query, key, value: [heads, tokens, dim] of these tokens. Returns [tokens, heads, dim]."""
        keys, values = self._planes[2 * layer], self._planes[2 * layer + 1]
        keys[0, :, self._start : self._end] = key
        values[0, :, self._start : self._end] = value
        seen, told = keys[:, :, : self._end], values[:, :, : self._end]
        return weighted(query[None], seen, told, self._mask(window), **how)[0].transpose(0, 1)


class Decode:
    """The newest token of several sequences of one class."""

    def __init__(self, tokens: Tensor, slots: Slots, chosen: list[Sequence], device: torch.device) -> None:
        self.tokens = tokens
        self._slots = slots
        places = [one.slot for one in chosen]
        lengths = [one.length for one in chosen]
        self._rows = torch.tensor(places, device=device)
        self._all = places == list(range(len(slots.sequences)))
        self._positions = torch.tensor(lengths, device=device)
        self._mask = _masks(self._positions[:, None], slots.length)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, window: int | None, **how: Any) -> Tensor:
        """query, key, value: [heads, rows, dim]. Returns [rows, heads, dim]."""
        keys, values = self._slots.planes[2 * layer], self._slots.planes[2 * layer + 1]
        keys[self._rows, :, self._positions] = key.transpose(0, 1)
        values[self._rows, :, self._positions] = value.transpose(0, 1)
        count = len(self._rows)
        seen, told = (plane[:count] if self._all else plane[self._rows] for plane in (keys, values))
        return weighted(query.transpose(0, 1)[:, :, None], seen, told, self._mask(window), **how)[:, :, 0]


def _masks(positions: Tensor, length: int) -> Callable[[int | None], Tensor]:
    """What each token may see, [rows, 1, tokens, length], for each window a layer may have; made once for all layers.

    positions: [rows, tokens]. With a window a token sees itself and the `window - 1` tokens before it.
    """

    @cache
    def mask(window: int | None) -> Tensor:
        reach = positions[:, None, :, None]
        places = torch.arange(length, device=positions.device)
        allowed = places <= reach
        return allowed & (places > reach - window) if window is not None else allowed

    return mask


def weighted(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, *, scaling: float | None, softcap: float | None
) -> Tensor:
    """Attention of [rows, heads, tokens, dim] over [rows, key heads, length, dim]; returns the query's shape.

    Query heads that share key heads are laid behind each other as tokens, so that no key is copied for them.
    """
    rows, heads, tokens, dim = query.shape
    shared = heads // keys.shape[1]
    packed = query.reshape(rows, keys.shape[1], shared * tokens, dim)
    allowed = mask if tokens == 1 else mask.repeat(1, 1, shared, 1)
    # PyTorch's fused kernel would serve float32 on the CPU too, but there its rounding depends on the number of rows.
    if softcap is None and not (query.dtype == torch.float32 and query.device.type == "cpu"):
        found = scaled_dot_product_attention(packed, keys, values, attn_mask=allowed, scale=scaling)
    else:
        scores = (packed @ keys.transpose(-1, -2)).float() * (dim**-0.5 if scaling is None else scaling)
        if softcap is not None:
            scores = torch.tanh(scores / softcap) * softcap
        found = scores.masked_fill_(~allowed, -torch.inf).softmax(-1).to(values.dtype) @ values
    return found.reshape(rows, heads, tokens, values.shape[-1])
