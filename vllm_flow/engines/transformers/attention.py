"""Attention over the KV cache, as a function that models call in place of their own.

A model is called with the tokens of many sequences in one line; what keeps them apart is here. Its linear layers see
one matrix of all tokens, and so read the weights once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from vllm_flow.engines.transformers.slots import Sequence, Slots

UNDERSTOOD = frozenset({"position_ids", "use_cache", "is_causal", "output_attentions", "cache_position"})
"""Keywords of models that change nothing here. Any other that is set means more than this attention does."""


@dataclass(frozen=True, slots=True)
class Look:
    """How one layer looks back."""

    layer: int
    window: int | None
    """How many tokens it sees, itself included; None: all."""
    scale: float
    """Of the scores."""
    cap: float | None = None
    """Scores s become cap * tanh(s / cap)."""


class Chunk:
    """Some tokens of one sequence whose prompt is being read."""

    def __init__(self, tokens: slice, sequence: Sequence, start: int, device: torch.device) -> None:
        """start: the place of the first of them in the sequence."""
        self.tokens = tokens
        self._planes = sequence.planes
        self._start, self._end = start, start + tokens.stop - tokens.start
        self._mask = _masks(torch.arange(self._start, self._end, device=device)[None], self._end)
        self._bias = _biases(self._mask, lambda allowed, shared: allowed[0].repeat(1, shared, 1))

    def attend(self, look: Look, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query: [tokens, heads, dim]; key, value with their own heads. Returns [tokens, heads, dim]."""
        keys, values = self._planes[2 * look.layer], self._planes[2 * look.layer + 1]
        keys[0, :, self._start : self._end] = key.transpose(0, 1)
        values[0, :, self._start : self._end] = value.transpose(0, 1)
        seen, told = keys[:, :, : self._end], values[:, :, : self._end]
        query = query.transpose(0, 1)
        if query.device.type != "cpu":
            return _masked(query[None], seen, told, self._mask(look.window), look)[0].transpose(0, 1)
        heads, tokens, dim = query.shape
        packed = query.reshape(seen.shape[1], -1, dim)
        bias = self._bias(look.window, heads // seen.shape[1], query.dtype).expand(seen.shape[1], -1, -1)
        return _biased(packed, seen[0], told[0], bias, look).view(heads, tokens, -1).transpose(0, 1)


class Decode:
    """The newest token of several sequences of one class."""

    def __init__(self, tokens: slice, slots: Slots, chosen: list[Sequence], device: torch.device) -> None:
        self.tokens = tokens
        self._slots = slots
        places = [one.slot for one in chosen]
        self._rows = torch.tensor(places, device=device)
        self._all = places == list(range(len(places)))
        self._positions = torch.tensor([one.length for one in chosen], device=device)
        self._mask = _masks(self._positions[:, None], slots.length)
        self._bias = _biases(self._mask, lambda allowed, heads: allowed[:, 0].repeat_interleave(heads, 0))

    def attend(self, look: Look, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query: [rows, heads, dim]; key, value with their own heads. Returns [rows, heads, dim]."""
        keys, values = self._slots.planes[2 * look.layer], self._slots.planes[2 * look.layer + 1]
        keys[self._rows, :, self._positions] = key
        values[self._rows, :, self._positions] = value
        count = len(self._rows)
        seen, told = (plane[:count] if self._all else plane[self._rows] for plane in (keys, values))
        if query.device.type != "cpu":
            return _masked(query[:, :, None], seen, told, self._mask(look.window), look)[:, :, 0]
        shared = query.shape[1] // key.shape[1]
        packed = query.reshape(count * key.shape[1], shared, query.shape[2])
        bias = self._bias(look.window, key.shape[1], query.dtype).expand(-1, shared, -1)
        found = _biased(packed, seen.flatten(0, 1), told.flatten(0, 1), bias, look)
        return found.view(count, query.shape[1], value.shape[2])


def _masks(positions: Tensor, length: int) -> Callable[[int | None], Tensor]:
    """What each token may see, [rows, 1, tokens, length], for each window a layer may have; made once for all layers.

    positions: [rows, tokens].
    """

    @cache
    def mask(window: int | None) -> Tensor:
        reach = positions[:, None, :, None]
        places = torch.arange(length, device=positions.device)
        allowed = places <= reach
        return allowed & (places > reach - window) if window is not None else allowed

    return mask


def _biases(
    mask: Callable[[int | None], Tensor], laid_out: Callable[[Tensor, int], Tensor]
) -> Callable[[int | None, int, torch.dtype], Tensor]:
    """What is added to the scores, 0 where a token may look, else -inf; made once for all layers, as masks are.

    laid_out: the mask as [groups, tokens, length], told how many heads there are. Neither may hold whose biases these
    are: in a circle it would keep keys and values until Python looks for garbage.
    """

    @cache
    def bias(window: int | None, heads: int, dtype: torch.dtype) -> Tensor:
        allowed = laid_out(mask(window), heads)
        return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, -torch.inf)

    return bias


def _biased(query: Tensor, keys: Tensor, values: Tensor, bias: Tensor, look: Look) -> Tensor:
    """Attention of [groups, tokens, dim] over [groups, length, dim], as it is fastest on the CPU; the query's shape.

    In half the time of PyTorch's fused kernel, and a row's rounding does not depend on how many there are, nor on where
    its buffers lie, as it does there in float32. bias: [groups, tokens, length].
    """
    if look.cap is None:
        scores = torch.baddbmm(bias, query, keys.transpose(1, 2), alpha=look.scale)
    else:
        scores = torch.tanh((query @ keys.transpose(1, 2)).float() * (look.scale / look.cap)) * look.cap + bias
    return scores.softmax(-1).to(values.dtype) @ values


def _masked(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, look: Look) -> Tensor:
    """Attention of [rows, heads, tokens, dim] over [rows, key heads, length, dim]; returns the query's shape.

    Query heads that share key heads are laid behind each other as tokens, so that no key is copied for them.
    """
    rows, heads, tokens, dim = query.shape
    shared = heads // keys.shape[1]
    packed = query.reshape(rows, keys.shape[1], shared * tokens, dim)
    allowed = mask if tokens == 1 else mask.repeat(1, 1, shared, 1)
    if look.cap is None:
        found = scaled_dot_product_attention(packed, keys, values, attn_mask=allowed, scale=look.scale)
    else:
        scores = (packed @ keys.transpose(-1, -2)).float() * look.scale
        if look.cap is not None:
            scores = torch.tanh(scores / look.cap) * look.cap
        found = scores.masked_fill_(~allowed, -torch.inf).softmax(-1).to(values.dtype) @ values
    return found.reshape(rows, heads, tokens, values.shape[-1])
