"""Loading: from a Model to what runs on a device, with the tokenizer and the facts that the engine needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from transformers.pytorch_utils import Conv1D

from vllm_flow.core.errors import ModelError
from vllm_flow.core.options import written
from vllm_flow.core.shape import KINDS
from vllm_flow.engines.shaping import Shapes, hf_tokenizer
from vllm_flow.engines.transformers.adapter import merge_adapter
from vllm_flow.engines.transformers.fitting import compile_decoding, fitted, least_tokens
from vllm_flow.engines.transformers.heap import give_back
from vllm_flow.engines.transformers.layers import count_layers, keep_layers
from vllm_flow.engines.transformers.learning import Learner
from vllm_flow.engines.transformers.loaded import Loaded
from vllm_flow.engines.transformers.network import Network
from vllm_flow.engines.transformers.options import Device, DType, Quantize
from vllm_flow.engines.transformers.plain import PlainNetwork
from vllm_flow.engines.transformers.quantized import quantise, weight_bytes
from vllm_flow.engines.transformers.render import Renderer
from vllm_flow.engines.transformers.senses.decoder import Decoder
from vllm_flow.engines.transformers.senses.fit import Senses, fitted_whole, senses_of
from vllm_flow.engines.transformers.senses.rendering import SeeingRenderer
from vllm_flow.engines.transformers.senses.sight import Sight
from vllm_flow.engines.transformers.trials import Found, trials_of
from vllm_flow.engines.transformers.vocabulary import Vocabulary
from vllm_flow.engines.transformers.weights import read_weights, tokenizer_of
from vllm_flow.models.adapter import Adapter, find_adapter
from vllm_flow.models.layers import parse_layers, written_layers
from vllm_flow.models.spec import Model


def load(  # noqa: PLR0917  the options of the engine
    model: Model,
    device: Device = "auto",
    dtype: DType = "auto",
    deterministic: bool | None = None,
    quantize: Quantize | None = None,
    compiles: bool = False,
    adapters: str | None = None,
) -> Loaded:
    """Weights in memory. The arguments are the engine's options. Raises ModelError."""
    place = _device(device)
    weights, reads, facts = _weights(model, place, number_type(dtype, place), quantize)
    transposed = any(type(one) is Conv1D for one in weights.modules())
    own_attention = weights.config._attn_implementation
    trials = trials_of("" if model.adapter else facts["weights"], weights, quantize)
    found = trials.found()
    senses = senses_of(weights, reads) if isinstance(weights, Decoder) else None
    known = found.get("lean")
    fit = fitted_whole(weights, senses, lean=known) if senses else fitted(weights, lean=known)
    network = fit.network
    try:
        same = _made_deterministic(network, deterministic, found)
        if isinstance(network, Network):
            trials.keep({**found, "lean": network.lean is not None})
        if compiles:
            compile_decoding(fit, weights)
        facts |= fit.facts(compiles, same)
        del fit  # and with it the layers as they were before packing
        give_back()
        loaded = _ready(model, network, weights, reads, facts, senses=senses, attention=own_attention)
        if compiles or model.layers is not None:  # compiled code has no layers, and peft would count them otherwise
            return loaded
        learner = Learner(weights, own_attention, identity(model, facts), adapters, transposed)
        return replace(loaded, learner=learner)
    except BaseException:
        network.close()
        raise


def _ready(
    model: Model,
    network: Network | PlainNetwork,
    weights: Any,
    reads: Any,
    facts: dict[str, Any],
    *,
    senses: Senses | None,
    attention: str,
) -> Loaded:
    """With what the engine needs beside the network."""
    tokenizer = tokenizer_of(reads)
    texts = Renderer(tokenizer, senses.reader.mark if senses else None)
    seeing = SeeingRenderer(texts, senses.reader) if senses else None
    sight = Sight(senses.reader, seeing, senses.tower) if senses and seeing else None
    length = context_length(model, weights.config)
    facts |= {
        "kv_bytes_per_token": network.bytes_per_token or None,  # None where the cache is the model's own
        "context_length": length,
        "template": texts.template,
        "tools": texts.tools,
        "media": sorted(sight.kinds) if sight else [],
        "shapes": sorted(KINDS),
        "forward": "lean" if isinstance(network, Network) and network.lean else "transformers",
    }
    ends = end_ids(getattr(weights.generation_config, "eos_token_id", None), tokenizer)
    vocabulary = Vocabulary(tokenizer, weights.config.get_text_config().vocab_size, ends)
    shapes = Shapes(hf_tokenizer(tokenizer, vocabulary.size, vocabulary.end_ids))
    how = (ends, vocabulary, shapes, length, facts, attention)
    return Loaded(network, seeing or texts, decoder(tokenizer), *how, sight=sight)


def _weights(
    model: Model, place: torch.device, dtype: torch.dtype, quantize: Quantize | None
) -> tuple[Any, Any, dict[str, Any]]:
    """The model as it is to run, its tokenizer or processor, and what the record says of them."""
    adapter = _adapter(model)  # before all that takes time
    # Rounded to bfloat16 first, weights of 4 bits would not come back as they were.
    whole, reads, source = read_weights(model, torch.float32 if quantize else dtype)
    whole = _adapted(whole, adapter)
    weights = whole if tokenizer_of(reads) is reads else Decoder(whole)
    layers = kept_layers(model, weights)
    whole = whole.to(place).eval().requires_grad_(False)
    weights.eval()
    parameters = sum(one.numel() for one in whole.parameters())
    if quantize:
        quantise(weights, quantize, dtype)
        whole.to(dtype)
    facts = {
        "engine": "transformers",
        "model": model.name,
        **source,
        "device": str(place),
        "dtype": str(dtype).removeprefix("torch."),
        "adapter": adapter.identity if adapter else None,
        "layers": layers,
        "quantize": quantize,
        "parameters": parameters,
        "weight_bytes": weight_bytes(whole),  # packing takes them away
    }
    return weights, reads, facts


def identity(model: Model, facts: Mapping[str, Any]) -> str:
    """A hash of the model as it runs here: what an adapter was learned beside."""
    source = facts.get("weights_sha256") or [facts["weights"], model.architecture and written(model.architecture)]
    names = ("tokenizer_sha256", "adapter", "layers", "quantize", "dtype")
    said = json.dumps([source, *(facts.get(name) for name in names)])
    return hashlib.sha256(said.encode("utf-8")).hexdigest()


def _adapter(model: Model) -> Adapter | None:
    try:
        return find_adapter(model.adapter) if model.adapter is not None else None
    except ValueError as problem:
        raise ModelError(f"model.adapter: {problem}") from None


def _adapted(weights: Any, adapter: Adapter | None) -> Any:
    if adapter is None:
        return weights
    try:
        return merge_adapter(weights, adapter)
    except ValueError as problem:
        raise ModelError(f"model.adapter: {adapter.folder}: {problem}") from problem


def kept_layers(model: Model, weights: Any) -> str:
    """Leaves the other layers out. Returns which run, for the record. Raises ModelError."""
    there = count_layers(weights)
    if model.layers is None:
        return f"all {there}"
    try:
        layers = parse_layers(model.layers)
        keep_layers(weights, layers)
    except ValueError as problem:
        raise ModelError(f"model.layers: {model.layers}: {problem}") from None
    return f"{written_layers(layers)} of {there}"


def _made_deterministic(way: Network | PlainNetwork, wanted: bool | None, found: Found) -> bool:
    """Whether a row's logits are bitwise the same in any company: always one by one, else if its kernels allow it.

    found: what is known of that before; what is tried now is added.
    """
    if isinstance(way, PlainNetwork):
        return True
    if wanted is False:
        return False
    if "least" not in found:
        found["least"] = least_tokens(way)
    elif (known := found["least"]) is not None:
        way.least = known
    least = found["least"]
    if least is None and wanted:
        problem = "the kernels of this machine give a row other logits in other company"
        raise ModelError(f"resources.engine.deterministic: {problem}. Choose another dtype or device, or null.")
    return least is not None


def _device(wanted: Device) -> torch.device:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, has in there.items() if has))
    if not there[wanted]:
        raise ModelError(f"resources.engine.device: this machine has no {wanted}. Choose auto or cpu.")
    return torch.device(wanted)


def number_type(wanted: DType, device: torch.device) -> torch.dtype:
    """What the weights are and the model computes in."""
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[wanted]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float16


def decoder(tokenizer: Any) -> Callable[..., str]:
    """Turns token ids into text, special tokens left out."""

    def decode(ids: list[int]) -> str:
        return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    return decode


def end_ids(given: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends a sequence: by the generation config, whose `eos_token_id` is given, or by the tokenizer."""
    several = given if isinstance(given, list | tuple) else [given]
    return frozenset(one for one in (*several, tokenizer.eos_token_id) if one is not None)


def context_length(model: Model, config: Any) -> int:
    """How many tokens of prompt and answer together the model reads, or is to. Raises ModelError."""
    native = getattr(config.get_text_config(), "max_position_embeddings", None)
    wanted = model.context_length
    if native is None:
        if wanted is None:
            raise ModelError("model.context_length: the model's config does not say how much it reads. Set it.")
        return wanted
    if wanted is not None and wanted > native:
        raise ModelError(f"model.context_length: {wanted} is more than the {native} tokens this model reads. Lower it.")
    return wanted or int(native)
