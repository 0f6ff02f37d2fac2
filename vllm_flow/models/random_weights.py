"""Models with random weights: dimensions in, model and byte-level tokenizer out, without any file."""

from __future__ import annotations

from typing import Any

from vllm_flow.core.errors import ModelError, listed, nearest
from vllm_flow.models.families import FAMILIES, OPTIONS
from vllm_flow.models.spec import Architecture

NO_FIELDS = frozenset(
    {"architectures", "bos_token_id", "chunk_size_feed_forward", "dtype", "eos_token_id", "id2label", "is_decoder"}
    | {"is_encoder_decoder", "label2id", "model_type", "output_attentions", "output_hidden_states", "pad_token_id"}
    | {"problem_type", "return_dict", "transformers_version", "use_cache"}
)
"""What a configuration has too, but is no matter of shape."""

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
NAMED = {"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "pad_token": "<|pad|>"}
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_model(architecture: Architecture) -> Any:
    """A causal language model in float32 on the CPU; the caller's random state is left as it was.

    Raises ModelError when transformers refuses what `architecture.config` says.
    """
    import torch
    from transformers import AutoModelForCausalLM

    try:
        config = configured(architecture)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(architecture.seed)
            return AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    except ModelError:
        raise
    except Exception as cause:  # each family refuses in its own way what makes no model
        said = " ".join(str(cause).split()).rstrip(".")
        problem = f"transformers cannot build this {architecture.family}: {type(cause).__name__}: {said}"
        raise ModelError(f"model.architecture: {problem}. Choose other values.") from cause


def configured(architecture: Architecture) -> Any:
    """transformers' configuration. Raises ModelError for a field that it does not have."""
    from transformers import AutoConfig

    family = FAMILIES[architecture.family]
    known = AutoConfig.for_model(family.model_type)
    ours = {*OPTIONS, family.feed_forward, *(known.attribute_map.get(name) for name in OPTIONS)}
    fields = [name for name in known.to_dict() if name not in ours | NO_FIELDS and not name.startswith("_")]
    if strange := [name for name in architecture.config if name not in fields]:
        problem = f"a {architecture.family} has no '{strange[0]}'.{nearest(strange[0], fields)}"
        raise ModelError(f"model.architecture.config: {problem} There are: {listed(fields)}.")
    wanted = {
        "vocab_size": architecture.vocab_size,
        "hidden_size": architecture.hidden_size,
        "num_hidden_layers": architecture.layers,
        "num_attention_heads": architecture.heads,
        "max_position_embeddings": architecture.max_context,
        family.feed_forward: architecture.intermediate_size or 4 * architecture.hidden_size,
    }
    if family.kv_heads:
        wanted["num_key_value_heads"] = architecture.kv_heads or architecture.heads
    if family.head_dim:
        wanted["head_dim"] = architecture.head_dim or architecture.hidden_size // architecture.heads
    ids = {f"{name}_id": CONTROL.index(token) for name, token in NAMED.items()}
    return AutoConfig.for_model(
        family.model_type, **{"tie_word_embeddings": True, **wanted, **ids, **architecture.config}
    )


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
