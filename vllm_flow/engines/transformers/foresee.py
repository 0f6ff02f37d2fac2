"""Foreseeing: what a model will need, from its configuration and tokenizer, without its weights."""

from __future__ import annotations

from typing import Any

from vllm_flow.core.errors import ModelError
from vllm_flow.core.resources import Foreseen
from vllm_flow.core.values import Prompt
from vllm_flow.engines.transformers.render import Renderer
from vllm_flow.models.layers import parse_layers
from vllm_flow.models.locate import Folder, Hub, locate
from vllm_flow.models.spec import Model

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
QUANTIZED_BYTES = {"int4": 0.625, "int8": 1.125}
"""A weight with its share of its group's scale and zero point, in groups of 32."""


def foresee(model: Model, dtype: str, quantize: str | None) -> Foreseen:
    """Raises ModelError for what cannot be read. Fetches what is not here, as a run would."""
    if model.architecture is not None and model.is_random:
        from vllm_flow.models.random_weights import build_tokenizer, configured

        config, tokenizer = configured(model.architecture), build_tokenizer()
    else:
        config, tokenizer = _read(locate(model))
    text = config.get_text_config()
    layers = len(parse_layers(model.layers)) if model.layers else text.num_hidden_layers
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    size = BYTES["float32" if dtype == "auto" else dtype]
    renderer = Renderer(tokenizer)

    def count(prompt: Prompt) -> int:
        return len(renderer.ids(prompt))

    return Foreseen(
        count=count,
        weight_bytes=_weight_bytes(config, layers / text.num_hidden_layers, size, quantize),
        kv_bytes_per_token=2 * layers * heads * width * size,
        context_length=model.context_length or getattr(text, "max_position_embeddings", None),
    )


def _read(source: Folder | Hub) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoTokenizer

    place, how = (str(source.path), {"local_files_only": True}) if isinstance(source, Folder) else (source.name, {})
    try:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False, **how)
        return config, AutoTokenizer.from_pretrained(place, trust_remote_code=False, **how)
    except Exception as cause:  # whatever malformed files make transformers raise
        raise ModelError(f"{place}: its configuration or tokenizer cannot be read ({cause}).") from cause


def _weight_bytes(config: Any, share: float, size: int, quantize: str | None) -> int:
    """Of the parameters, counted on a model without memory; `share` of the layers run."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    outside: int = sum(one.numel() for name, one in model.named_parameters() if ".layers." not in name)
    within = sum(one.numel() for one in model.parameters()) - outside
    each = QUANTIZED_BYTES[quantize] if quantize else size
    return int(outside * size + within * share * each)
