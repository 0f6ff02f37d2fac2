"""Attention over the KV cache, as a function that models call in place of their own.

A model is called with the tokens of many sequences in one line; what keeps them apart is here. Its linear layers see
one matrix of all tokens, and so read the weights once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

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
        self._bias = Bias(torch.arange(self._start, self._end, device=device)[None], self._end)

    def attend(self, look: Look, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query: [tokens, heads, dim]; key, value with their own heads. Returns [tokens, heads, dim]."""
        keys, values = self._planes[2 * look.layer], self._planes[2 * look.layer + 1]
        keys[0, :, self._start : self._end] = key.transpose(0, 1)
        values[0, :, self._start : self._end] = value.transpose(0, 1)
        seen, told = keys[:, :, : self._end], values[:, :, : self._end]
        tokens, heads, dim = query.shape
        packed = query.transpose(0, 1).reshape(1, key.shape[1], -1, dim)
        return _attention(look, packed, seen, told, self._bias).reshape(heads, tokens, -1).transpose(0, 1)


class Decode:
    """The newest token of several sequences of one class."""

    def __init__(self, tokens: slice, slots: Slots, chosen: list[Sequence], device: torch.device) -> None:
        self.tokens = tokens
        self._slots = slots
        places = [one.slot for one in chosen]
        self._rows = torch.tensor(places, device=device)
        self._all = places == list(range(len(places)))
        self._positions = torch.tensor([one.length for one in chosen], device=device)
        self._bias = Bias(self._positions[:, None], slots.length)

    def attend(self, look: Look, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query: [rows, heads, dim]; key, value with their own heads. Returns [rows, heads, dim]."""
        keys, values = self._slots.planes[2 * look.layer], self._slots.planes[2 * look.layer + 1]
        keys[self._rows, :, self._positions] = key
        values[self._rows, :, self._positions] = value
        rows, heads, dim = query.shape
        seen, told = (plane[:rows] if self._all else plane[self._rows] for plane in (keys, values))
        packed = query.reshape(rows, key.shape[1], -1, dim)
        return _attention(look, packed, seen, told, self._bias).reshape(rows, heads, -1)


class Bias:
    """What is added to the scores of some rows: 0 where a token may look, else -inf. Made once for all layers."""

    def __init__(self, positions: Tensor, length: int) -> None:
        """positions: of the tokens, [rows, tokens]. length: of what they look at."""
        self._positions = positions
        self._length = length
        self._made: dict[tuple[int | None, torch.dtype, int, int], Tensor] = {}

    def of(self, query: Tensor, window: int | None, *, groups: int) -> Tensor:
        """[rows * groups, as many as the query has or 1, length]. query: as `_attention` takes it."""
        key = (window, query.dtype, groups, query.shape[2])
        if key not in self._made:
            tokens = self._positions.shape[1]
            shared = query.shape[2] // tokens if tokens > 1 else 1
            allowed = self._allowed(window).repeat(1, shared, 1).repeat_interleave(groups, 0)
            bias = torch.zeros(allowed.shape, dtype=query.dtype, device=allowed.device)
            self._made[key] = bias.masked_fill_(~allowed, -torch.inf)
        return self._made[key]

    def _allowed(self, window: int | None) -> Tensor:
        """[rows, tokens, length]."""
        reach = self._positions[:, :, None]
        places = torch.arange(self._length, device=reach.device)
        allowed = places <= reach
        return allowed & (places > reach - window) if window is not None else allowed


def _attention(look: Look, query: Tensor, keys: Tensor, values: Tensor, bias: Bias) -> Tensor:
    """Attention of [rows, key heads, those that share them, dim] over [rows, key heads, length, dim].

    Query heads that share key heads are laid behind each other as tokens, so that no key is copied for them. On a
    CPU the rounding of a row depends neither on how many rows there are nor on where its buffers lie, in both ways.
    """
    if _is_fused(look, query):
        allowed = bias.of(query, look.window, groups=1)[:, None]
        fused: Tensor = scaled_dot_product_attention(query, keys, values, attn_mask=allowed, scale=look.scale)
        return fused
    rows, groups, tokens = query.shape[:3]
    each = bias.of(query, look.window, groups=groups if rows > 1 else 1).expand(rows * groups, tokens, -1)
    found = _written_out(look, query.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1), each)
    return found.view(rows, groups, tokens, -1)


def _is_fused(look: Look, query: Tensor) -> bool:
    """Whether PyTorch's fused kernel is the faster one: on a CPU only where that multiplies in tiles.

    On others it takes twice the time, and in float32 a row's rounding may depend on where its buffers lie.
    """
    tiled = query.device.type != "cpu" or (query.dtype == torch.bfloat16 and multiplies_in_tiles())
    return tiled and look.cap is None


@cache
def multiplies_in_tiles() -> bool:
    """Whether this CPU has Intel's matrix extensions for bfloat16."""
    told: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(told.get("amx_bf16"))


def _written_out(look: Look, query: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attention of [groups, tokens, dim] over [groups, length, dim]. bias: [groups, tokens, length]."""
    if look.cap is None:
        scores = torch.baddbmm(bias, query, keys.transpose(1, 2), alpha=look.scale)
    else:
        scores = torch.tanh((query @ keys.transpose(1, 2)).float() * (look.scale / look.cap)) * look.cap + bias
    return scores.softmax(-1).to(values.dtype) @ values
