"""Models with random weights: dimensions in, model and byte-level tokenizer out, without any file."""

from __future__ import annotations

from typing import Any

from vllm_flow.models.spec import Architecture

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
NAMED = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_model(architecture: Architecture) -> Any:
    """A LlamaForCausalLM in float32 on the CPU; the caller's random state is left as it was."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=architecture.vocab_size,
        hidden_size=architecture.hidden_size,
        intermediate_size=architecture.intermediate_size or 4 * architecture.hidden_size,
        num_hidden_layers=architecture.layers,
        num_attention_heads=architecture.heads,
        num_key_value_heads=architecture.kv_heads or architecture.heads,
        max_position_embeddings=architecture.max_context,
        tie_word_embeddings=True,
        **{f"{name}_id": CONTROL.index(token) for name, token in NAMED.items()},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(architecture.seed)
        return LlamaForCausalLM(config)


def build_tokenizer() -> Any:
    """One token a byte, so that any text can be read and written; ChatML around the messages."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate((*CONTROL, *alphabet))}, merges=[]))
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokens.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        **NAMED,
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHATML,
    )
