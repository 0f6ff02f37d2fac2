"""Weights: from a Model to a transformers model and its tokenizer, from wherever the weights are.

No code and no pickle of a model is ever run: remote code is off, and weights are safetensors or they are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from vllm_flow.core.errors import ModelError
from vllm_flow.models.digest import digests
from vllm_flow.models.locate import Folder, Hub, locate
from vllm_flow.models.progress import tell
from vllm_flow.models.quiet import quiet
from vllm_flow.models.senses import senses
from vllm_flow.models.spec import Model

NO_ADAPTER = {"subfolder": "no-adapter", "local_files_only": True}
"""Where transformers is to look for an adapter that it would load unasked where peft is installed: nowhere."""
NO_HUB = "Without a hub: model=smollm2, or model.path=FOLDER."


def read_weights(model: Model, dtype: torch.dtype) -> tuple[Any, Any, dict[str, Any]]:
    """The model on the CPU, its tokenizer, and what the record says of where they come from. Raises ModelError.

    A model that sees or hears comes as transformers' class that does, with its processor in place of the tokenizer.
    """
    return _built(model, dtype) if model.is_random else _read(model, dtype)


def _built(model: Model, dtype: torch.dtype) -> tuple[Any, Any, dict[str, Any]]:
    from vllm_flow.models.random_weights import build_model, build_tokenizer

    if model.architecture is None:
        raise ModelError("model.architecture: it is missing. Give the dimensions.")
    source = {"weights": f"random, seed {model.architecture.seed}"}  # the configuration says all of it
    return build_model(model.architecture).to(dtype), build_tokenizer(), source


def _read(model: Model, dtype: torch.dtype) -> tuple[Any, Any, dict[str, Any]]:
    source = locate(model)
    with quiet():
        try:
            if isinstance(source, Folder):
                loaded = _pretrained(str(source.path), dtype, local_files_only=True)
                return *loaded, {"weights": str(source.path), **digests(source.path)}
            weights, tokenizer = from_hub(source, partial(_pretrained, source.name, dtype))
        except Exception as cause:  # whatever malformed files make transformers raise
            raise ModelError(_why(source, cause)) from cause
    commit, folder = _fetched(source)
    return weights, tokenizer, {"weights": f"{source.name}@{commit}", **(digests(folder) if folder else {})}


def from_hub(source: Hub, read: Callable[..., tuple[Any, Any]]) -> tuple[Any, Any]:
    """From the hub's own cache, without asking the hub, or else fetched: without a network asking takes minutes.

    read: is given `revision`, `token` and `local_files_only` as `from_pretrained` takes them. Raises what it does.
    """
    how = {"revision": source.revision or "main", "token": source.token}
    try:
        return read(local_files_only=True, **how)
    except OSError:
        step = f"{source.name}: fetch from the hub"
        tell(step, 0, 1)
        loaded = read(local_files_only=False, **how)
        tell(step, 1, 1)
        return loaded


def _fetched(source: Hub) -> tuple[str, Path | None]:
    """The commit that a branch or tag stood for when it was fetched, and the folder, which is named after it."""
    from huggingface_hub import try_to_load_from_cache

    revision = source.revision or "main"
    found = try_to_load_from_cache(source.name, "config.json", revision=revision)
    folder = Path(found).parent if isinstance(found, str) else None
    return (folder.name if folder else revision), folder


def _pretrained(name: str, dtype: torch.dtype, **how: Any) -> tuple[Any, Any]:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(name, trust_remote_code=False, **how)
    weights = auto_class(config).from_pretrained(
        name, dtype=dtype, use_safetensors=True, trust_remote_code=False, adapter_kwargs=NO_ADAPTER, **how
    )
    return weights, read_reader(name, config, **how)


def auto_class(config: Any) -> Any:
    """transformers' class for a model of this configuration."""
    from transformers import AutoModelForCausalLM, AutoModelForMultimodalLM

    sees = senses(config.to_dict()) and type(config) in AutoModelForMultimodalLM._model_mapping
    return AutoModelForMultimodalLM if sees else AutoModelForCausalLM


def read_reader(name: str, config: Any, **how: Any) -> Any:
    """The model's tokenizer, or the processor of one that sees or hears. Raises whatever transformers does."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if auto_class(config) is not AutoModelForCausalLM:
        from vllm_flow.engines.transformers.senses.processors import read_processor

        return read_processor(name, config, **how)
    return AutoTokenizer.from_pretrained(name, trust_remote_code=False, **how)


def tokenizer_of(reads: Any) -> Any:
    """What reads texts, of a tokenizer or a processor."""
    from transformers import ProcessorMixin

    return reads.tokenizer if isinstance(reads, ProcessorMixin) else reads


def _why(source: Folder | Hub, cause: Exception) -> str:
    first = str(cause).strip().partition("\n")[0].rstrip(".")
    if isinstance(source, Folder):
        return (
            f"{source.where}: it cannot be loaded: {type(cause).__name__}: {first}. Give a text model that "
            "transformers knows, with its tokenizer, as `save_pretrained` writes it."
        )
    return f"model.hub: {source.name} cannot be had: {type(cause).__name__}: {first}. {NO_HUB}"
