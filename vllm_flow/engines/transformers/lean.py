"""The lean forward pass: Llama's arithmetic and that of its nearest kin, with nothing around it.

It runs the layers that transformers loaded, in transformers' order, but calls only what computes, and lets a packed
layer do what follows it in the same pass. `fitting.py` takes it when its logits are the model's own.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Many
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, rms_norm, silu

from vllm_flow.engines.transformers.attention import Look
from vllm_flow.models.packed import PackedLinear, PackedPart

KIN = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Model types whose forward pass this is; they differ in biases, norms of heads and windows."""
Attend = Callable[[Look, Tensor, Tensor, Tensor], Tensor]
"""Of how a layer looks, query [tokens, heads, dim], key and value with their own heads; [tokens, heads, dim]."""


class Lean:
    """The forward pass of one model."""

    def __init__(self, model: Any, looks: Many[Look]) -> None:
        """looks: what each layer was seen to ask of its attention."""
        self._model = model
        self._layers = list(zip(model.model.layers, looks, strict=True))

    @staticmethod
    def knows(model: Any) -> bool:
        config = model.config
        return config.model_type in KIN and config.hidden_act in {"silu", "swish"} and not model.training

    def __call__(
        self, ids: Tensor, positions: Tensor, kept: Tensor, attend: Attend, hidden: Tensor | None = None
    ) -> Tensor:
        """Logits after the kept places, [kept, vocab]. ids, positions: int64 [tokens].

        hidden: [tokens, hidden size] in place of the ids' embeddings.
        """
        decoder = self._model.model
        hidden = decoder.embed_tokens(ids) if hidden is None else hidden
        rope = rope_of(decoder, hidden, positions)
        for layer, look in self._layers:
            hidden = block(layer, look, hidden, rope, attend)
        logits: Tensor = self._model.lm_head(normed(decoder.norm, hidden[kept]))
        return logits


def rope_of(decoder: Any, hidden: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine of rotary positions, [tokens, 1, dim] each."""
    cos, sin = (one[0, :, None] for one in decoder.rotary_emb(hidden[None], positions[None]))
    half = cos.shape[-1] // 2
    return cos, torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)


def block(layer: Any, look: Look, hidden: Tensor, rope: tuple[Tensor, Tensor], attend: Attend) -> Tensor:
    """What one layer makes of [tokens, hidden size]."""
    attention, feed = layer.self_attn, layer.mlp
    rows = normed(layer.input_layernorm, hidden)
    found = attend(look, *_looking(attention, rows, rope))
    hidden = _plus(attention.o_proj, found.flatten(1), hidden)
    rows = normed(layer.post_attention_layernorm, hidden)
    return _plus(feed.down_proj, _gated(feed, rows), hidden)


def _looking(attention: Any, rows: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value, [tokens, heads, dim] each, the first two at their positions."""
    layers, dim = (attention.q_proj, attention.k_proj, attention.v_proj), attention.head_dim
    if not isinstance(layers[0], PackedPart):
        query, key, value = (layer(rows).unflatten(-1, (-1, dim)) for layer in layers)
    else:
        heads = layers[0].whole(rows).unflatten(-1, (-1, dim))
        ends = [layer.columns.stop // dim for layer in layers]
        if not hasattr(attention, "q_norm"):
            turned = _turned(heads[:, : ends[1]], rope)
            return turned[:, : ends[0]], turned[:, ends[0] :], heads[:, ends[1] :]
        query, key, value = heads.tensor_split(ends[:2], dim=1)
    if hasattr(attention, "q_norm"):
        query, key = normed(attention.q_norm, query), normed(attention.k_norm, key)
    return _turned(query, rope), _turned(key, rope), value


def normed(norm: Any, rows: Tensor) -> Tensor:
    """The root mean square norm: of a row beside its negative, whose mean is 0, that is what a layer norm is.

    On a CPU PyTorch has one kernel for that, and ten calls for the other, which few rows feel.
    """
    width = rows.shape[-1]
    if rows.device.type != "cpu" or torch.compiler.is_compiling():  # there it is one kernel, or becomes one loop
        return rms_norm(rows, (width,), norm.weight, norm.variance_epsilon)
    both = layer_norm(torch.cat([rows, -rows], dim=-1), (2 * width,), eps=norm.variance_epsilon)
    scaled: Tensor = both[..., :width] * norm.weight
    return scaled


def _turned(heads: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary positions: [tokens, heads, dim], each half of dim beside the other (Su 2021, arXiv:2104.09864)."""
    cos, signed = rope
    return torch.addcmul(heads * cos, heads.roll(heads.shape[-1] // 2, -1), signed)


def _gated(feed: Any, rows: Tensor) -> Tensor:
    gate, up = feed.gate_proj, feed.up_proj
    if isinstance(gate, PackedLinear) and isinstance(up, PackedLinear):
        return up.times(rows, gate.silu(rows))
    made: Tensor = silu(gate(rows)) * up(rows)
    return made


def _plus(layer: Any, rows: Tensor, other: Tensor) -> Tensor:
    made: Tensor = layer.plus(rows, other) if isinstance(layer, PackedLinear) else layer(rows) + other
    return made
