"""Families: the kinds of decoder that can be built from numbers, and what each of them can have. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

FamilyName = Literal["llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "gpt2", "gpt_neox"]


@dataclass(frozen=True, slots=True)
class Family:
    """One of transformers' kinds."""

    model_type: str
    """What transformers calls it."""
    kv_heads: bool = True
    """Whether several query heads may share keys and values."""
    head_dim: bool = True
    """Whether heads may have a width of their own."""
    rotary: bool = True
    """Whether positions turn pairs of numbers, so that a head needs an even width."""
    feed_forward: str = "intermediate_size"
    """What transformers calls the width of its feed-forward layers."""


FAMILIES: Mapping[FamilyName, Family] = MappingProxyType(
    {
        "llama": Family("llama"),
        "mistral": Family("mistral"),
        "qwen2": Family("qwen2", head_dim=False),
        "qwen3": Family("qwen3"),
        "gemma2": Family("gemma2"),
        "gemma3": Family("gemma3_text"),
        "phi3": Family("phi3", head_dim=False),
        "gpt2": Family("gpt2", kv_heads=False, head_dim=False, rotary=False, feed_forward="n_inner"),
        "gpt_neox": Family("gpt_neox", kv_heads=False, head_dim=False),
    }
)
OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "vocab_size": "vocab_size",
        "hidden_size": "hidden_size",
        "num_hidden_layers": "layers",
        "num_attention_heads": "heads",
        "num_key_value_heads": "kv_heads",
        "head_dim": "head_dim",
        "max_position_embeddings": "max_context",
        "intermediate_size": "intermediate_size",
    }
)
"""What transformers calls our options."""
