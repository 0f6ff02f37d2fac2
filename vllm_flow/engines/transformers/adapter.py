"""Merging an adapter into the weights, so that a model with one runs as fast as a model without."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from vllm_flow.models.adapter import WEIGHTS, Adapter

TRIED = 8
"""Tokens on which the merged weights are held against the adapter beside them."""


@torch.no_grad()
def merge_adapter(model: Any, adapter: Adapter) -> Any:
    """The model with the adapter in its weights. Raises ValueError when it was made for another model."""
    from peft import PeftConfig, get_peft_model, set_peft_model_state_dict
    from safetensors.torch import load_file

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on names of other folders, and on layers that are handled anyway
        try:
            config = PeftConfig.from_pretrained(str(adapter.folder))
            config.inference_mode = True
            weights = load_file(adapter.folder / WEIGHTS)
            beside = get_peft_model(model, config).eval()
            found = set_peft_model_state_dict(beside, weights)
        except Exception as cause:  # whatever a malformed file makes peft raise
            raise ValueError(_misfit(str(cause))) from cause
        _check_all_there(found, beside.base_model.prefix)
        wanted = _logits(beside)
        merged = beside.merge_and_unload()
    if not torch.allclose(_logits(merged), wanted, rtol=0, atol=_allowed(wanted, model.dtype)):
        problem = "it cannot be merged: it changes weights that stand in two places, such as tied embeddings"
        raise ValueError(f"{problem}. Give one that targets other layers.")
    return merged


def _misfit(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    detail = next((line for line in lines if "size mismatch" in line), (lines or ["peft did not say why"])[0])
    return f"it does not fit this model: {detail.rstrip('.')}. Give the model that it was made for."


def _check_all_there(found: Any, prefix: str) -> None:
    """Raises ValueError when the adapter has weights for layers that are not there, or none for some that are."""
    missing = [name for name in found.missing_keys if prefix in name]
    strange = found.unexpected_keys
    if strange:
        raise ValueError(_misfit(f"it has {strange[0]} and {len(strange) - 1} more, which this model lacks"))
    if missing:
        raise ValueError(_misfit(f"it lacks {missing[0]} and {len(missing) - 1} more, which this model has"))


def _logits(model: Any) -> Tensor:
    vocab = int(model.config.get_text_config().vocab_size)
    ids = torch.tensor([[(place * 7919 + 11) % vocab for place in range(TRIED)]], device=model.device)
    logits: Tensor = model(input_ids=ids).logits
    return logits.float()


def _allowed(wanted: Tensor, dtype: torch.dtype) -> float:
    return (1e-3 if dtype == torch.float32 else 0.1) * (float(wanted.abs().max()) + 1.0)
