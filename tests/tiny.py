"""Tiny models with random weights, made in well under a second each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

from vllm_flow.models.random_weights import build_tokenizer

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
WINDOW = 9
LAYERS = ["sliding_attention", "full_attention"]
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Qwen2": {},
    "Qwen3": {"head_dim": 8},
    "GPT2": {},
    "Mistral": {"sliding_window": WINDOW, "head_dim": 8},
    "Gemma2": {"sliding_window": WINDOW, "head_dim": 8, "layer_types": LAYERS},
    "Gemma3": {"sliding_window": WINDOW, "head_dim": 8, "layer_types": LAYERS},
    "Phi3": {},
    "GPTNeoX": {},
    "OPT": {"ffn_dim": 64, "word_embed_proj_dim": 32},
}
"""What batches, and what of its shape is not that of the others."""
PLAIN = {"Bloom": {}, "Mamba": {}}
"""What does not."""
GAIN = 8.0
"""The usual initial weights leave logits nearly flat; with this gain the answer depends on the prompt."""


def build(family: str, seed: int = 0, layers: int = 2, **more: Any) -> Any:
    """A causal language model of a transformers family, float32, for the byte-level tokenizer."""
    tokenizer = build_tokenizer()
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    shape: dict[str, Any] = {**SHAPE, **{**FAMILIES, **PLAIN}[family], "num_hidden_layers": layers, **more}
    if family == "GPT2":
        shape = {"n_embd": 32, "n_layer": layers, "n_head": 4, "n_positions": 512}
    kind = {"Gemma3": "Gemma3Text"}.get(family, family)
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(tokenizer), **shape, **ids)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, f"{family}ForCausalLM" if family != "GPT2" else "GPT2LMHeadModel")(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(GAIN)
    return model.eval()


def save(folder: Path, family: str, model: Any = None, chat: bool = True, **generation: Any) -> Path:
    """A folder as `save_pretrained` writes it. `generation` goes into the generation config."""
    model, tokenizer = model or build(family), build_tokenizer()
    if not chat:
        tokenizer.chat_template = None
    model.generation_config.update(**generation)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def byte_alphabet() -> dict[int, str]:
    """The character that stands for each byte in a byte-level vocabulary (GPT-2's table)."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return {byte: chr(byte) for byte in kept} | {byte: chr(256 + place) for place, byte in enumerate(others)}
