"""Foreseeing: what a model will need, from its configuration and tokenizer, without its weights."""

from __future__ import annotations

from typing import Any

import torch

from vllm_flow.core.errors import ModelError
from vllm_flow.core.resources import Foreseen
from vllm_flow.core.taking import check_media
from vllm_flow.core.values import Prompt
from vllm_flow.engines.transformers.load import context_length, kept_layers, number_type
from vllm_flow.engines.transformers.loaded import Renders
from vllm_flow.engines.transformers.options import DType, Quantize
from vllm_flow.engines.transformers.quantized import foreseen_bytes
from vllm_flow.engines.transformers.render import Renderer
from vllm_flow.engines.transformers.senses.decoder import Decoder
from vllm_flow.engines.transformers.senses.reader import Reader
from vllm_flow.engines.transformers.senses.rendering import SeeingRenderer
from vllm_flow.engines.transformers.weights import auto_class, from_hub, read_reader, tokenizer_of
from vllm_flow.models.locate import Folder, locate
from vllm_flow.models.spec import Model


def foresee(model: Model, dtype: DType, quantize: Quantize | None) -> Foreseen:
    """Fetches what is not here, as a run would. Raises ModelError for what cannot be read, or a run would refuse."""
    if model.architecture is not None and model.is_random:
        from vllm_flow.models.random_weights import build_tokenizer, configured

        config, reads = configured(model.architecture), build_tokenizer()
    else:
        config, reads = _read(model)
    number = number_type(dtype, torch.device("cpu"))
    length, whole = context_length(model, config), _without_memory(config)
    weights = whole if tokenizer_of(reads) is reads else Decoder(whole)
    kept_layers(model, weights)
    text = weights.config.get_text_config()
    towers = _size(whole) - _size(weights)
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    renderer = _renderer(config, reads)

    def checked(prompt: Prompt) -> Prompt:
        check_media("transformers", prompt, renderer.kinds if isinstance(renderer, SeeingRenderer) else ())
        return prompt

    return Foreseen(
        count=lambda prompt: len(renderer.ids(checked(prompt))),
        weight_bytes=foreseen_bytes(weights, quantize, number) + towers * number.itemsize,
        kv_bytes_per_token=2 * text.num_hidden_layers * heads * width * number.itemsize,
        context_length=length,
        measure=lambda prompt: renderer.measure(checked(prompt)),
    )


def _read(model: Model) -> tuple[Any, Any]:
    source = locate(model)
    place = str(source.path) if isinstance(source, Folder) else source.name

    def read(**how: Any) -> tuple[Any, Any]:
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(place, trust_remote_code=False, **how)
        return config, read_reader(place, config, **how)

    try:
        return read(local_files_only=True) if isinstance(source, Folder) else from_hub(source, read)
    except Exception as cause:  # whatever malformed files make transformers raise
        raise ModelError(f"{place}: its configuration or tokenizer cannot be read ({cause}).") from cause


def _without_memory(config: Any) -> Any:
    """The model, of which only the shapes are there."""
    with torch.device("meta"):
        return auto_class(config).from_config(config)


def _size(model: Any) -> int:
    return sum(one.numel() for one in model.parameters())


def _renderer(config: Any, reads: Any) -> Renders:
    tokenizer = tokenizer_of(reads)
    if tokenizer is reads:
        return Renderer(tokenizer)
    reader = Reader(reads, config.to_dict())
    return SeeingRenderer(Renderer(tokenizer, reader.mark), reader)
