"""Loading: from a Model to weights on a device, with the tokenizer and the facts that the engine needs.

No code and no pickle of a model is ever run: remote code is off, and weights are safetensors or they are refused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vllm_flow.core.errors import ModelError
from vllm_flow.engines.transformers.fitting import fitted, least_tokens
from vllm_flow.engines.transformers.loaded import Loaded
from vllm_flow.engines.transformers.network import Network
from vllm_flow.engines.transformers.options import Device, DType
from vllm_flow.engines.transformers.plain import PlainNetwork
from vllm_flow.engines.transformers.render import Renderer
from vllm_flow.engines.transformers.vocabulary import Vocabulary
from vllm_flow.models.locate import Folder, Hub, locate
from vllm_flow.models.progress import tell
from vllm_flow.models.spec import Model

NO_HUB = "Without a hub: model=smollm2, or model.path=FOLDER."


def load(model: Model, device: Device = "auto", dtype: DType = "auto", deterministic: bool | None = None) -> Loaded:
    """Weights in memory. Raises ModelError."""
    place = _device(device)
    number = _dtype(dtype, place)
    weights, tokenizer, source = _built(model, number) if _is_random(model) else _read(model, number)
    weights = weights.to(place).eval()
    parameters = sum(weight.numel() for weight in weights.parameters())
    fit = fitted(weights)
    renderer = Renderer(tokenizer)
    length = _context_length(model, weights.config)
    facts = {
        "engine": "transformers",
        "model": model.name,
        "weights": source,
        "device": str(place),
        "dtype": str(number).removeprefix("torch."),
        "parameters": parameters,
        "context_length": length,
        "template": renderer.template,
        "packed_layers": fit.packed,
        "forward": "lean" if isinstance(fit.network, Network) and fit.network.lean else "transformers",
        "batching": f"none: {fit.why_plain}" if fit.why_plain else "continuous",
        "deterministic": _made_deterministic(fit.network, deterministic),
    }
    ends = _end_ids(weights, tokenizer)
    vocabulary = Vocabulary(tokenizer, weights.config.get_text_config().vocab_size, ends)
    return Loaded(fit.network, renderer, _decoder(tokenizer), ends, vocabulary, length, facts)


def _made_deterministic(way: Network | PlainNetwork, wanted: bool | None) -> bool:
    """Whether a row's logits are bitwise the same in any company: always one by one, else if its kernels allow it."""
    if isinstance(way, PlainNetwork):
        return True
    if wanted is False:
        return False
    least = least_tokens(way)
    if least is None and wanted:
        problem = "the kernels of this machine give a row other logits in other company"
        raise ModelError(f"resources.engine.deterministic: {problem}. Choose another dtype or device, or null.")
    return least is not None


def _is_random(model: Model) -> bool:
    return model.architecture is not None and not (model.path or model.gguf or model.package or model.hub)


def _built(model: Model, dtype: torch.dtype) -> tuple[Any, Any, str]:
    from vllm_flow.models.random_weights import build_model, build_tokenizer

    if model.architecture is None:
        raise ModelError("model.architecture: it is missing. Give the dimensions.")
    return build_model(model.architecture).to(dtype), build_tokenizer(), f"random, seed {model.architecture.seed}"


def _read(model: Model, dtype: torch.dtype) -> tuple[Any, Any, str]:
    source = locate(model)
    with _quiet():
        try:
            if isinstance(source, Folder):
                return *_pretrained(str(source.path), dtype, local_files_only=True), str(source.path)
            weights, tokenizer = _from_hub(source, dtype)
        except Exception as cause:  # whatever malformed files make transformers raise
            raise ModelError(_why(source, cause)) from cause
    return weights, tokenizer, f"{source.name}@{_commit(source)}"


def _from_hub(source: Hub, dtype: torch.dtype) -> tuple[Any, Any]:
    """From the hub's own cache, without asking the hub, or else fetched: without a network asking takes minutes."""
    how = {"revision": source.revision or "main", "token": source.token}
    try:
        return _pretrained(source.name, dtype, local_files_only=True, **how)
    except OSError:
        step = f"{source.name}: fetch from the hub"
        tell(step, 0, 1)
        loaded = _pretrained(source.name, dtype, **how)
        tell(step, 1, 1)
        return loaded


def _commit(source: Hub) -> str:
    """The commit that a branch or tag stood for when it was fetched: the hub's cache names the folder after it."""
    from huggingface_hub import try_to_load_from_cache

    revision = source.revision or "main"
    found = try_to_load_from_cache(source.name, "config.json", revision=revision)
    return Path(found).parent.name if isinstance(found, str) else revision


def _pretrained(name: str, dtype: torch.dtype, **how: Any) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = AutoModelForCausalLM.from_pretrained(
        name, dtype=dtype, use_safetensors=True, trust_remote_code=False, **how
    )
    return weights, AutoTokenizer.from_pretrained(name, trust_remote_code=False, **how)


def _why(source: Folder | Hub, cause: Exception) -> str:
    first = str(cause).strip().partition("\n")[0].rstrip(".")
    if isinstance(source, Folder):
        return (
            f"{source.where}: it cannot be loaded: {type(cause).__name__}: {first}. Give a text model that "
            "transformers knows, with its tokenizer, as `save_pretrained` writes it."
        )
    return f"model.hub: {source.name} cannot be had: {type(cause).__name__}: {first}. {NO_HUB}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and the hub's lines about its retries: one error says it all in the end."""
    from transformers.utils import logging as bars

    hub, shown = logging.getLogger("huggingface_hub"), bars.is_progress_bar_enabled()
    level = hub.level
    hub.setLevel(logging.ERROR)
    bars.disable_progress_bar()
    try:
        yield
    finally:
        hub.setLevel(level)
        if shown:
            bars.enable_progress_bar()


def _device(wanted: Device) -> torch.device:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, has in there.items() if has))
    if not there[wanted]:
        raise ModelError(f"resources.engine.device: this machine has no {wanted}. Choose auto or cpu.")
    return torch.device(wanted)


def _dtype(wanted: DType, device: torch.device) -> torch.dtype:
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[wanted]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float16


def _decoder(tokenizer: Any) -> Callable[..., str]:
    def decode(ids: list[int]) -> str:
        return str(tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    return decode


def _end_ids(weights: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that the generation config or the tokenizer calls an end of sequence."""
    given = getattr(weights.generation_config, "eos_token_id", None)
    several = given if isinstance(given, list | tuple) else [given]
    return frozenset(one for one in (*several, tokenizer.eos_token_id) if one is not None)


def _context_length(model: Model, config: Any) -> int:
    native = getattr(config.get_text_config(), "max_position_embeddings", None)
    wanted = model.context_length
    if native is None:
        if wanted is None:
            raise ModelError("model.context_length: the model's config does not say how much it reads. Set it.")
        return wanted
    if wanted is not None and wanted > native:
        raise ModelError(f"model.context_length: {wanted} is more than the {native} tokens this model reads. Lower it.")
    return wanted or int(native)
