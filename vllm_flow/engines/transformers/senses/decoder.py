"""The decoder: the language model within a model that also sees or hears, as a causal language model of its own.

All that runs, packs, compiles or teaches language models takes it as one; its weights are the whole model's.
"""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from vllm_flow.engines.transformers.plain import CACHES


class Decoder(nn.Module):
    """A view of `whole`, which is no submodule of it."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.model, self.lm_head = whole.get_decoder(), whole.get_output_embeddings()
        self._whole = (whole,)
        takes = inspect.signature(self.model.forward).parameters
        self._cache = next((name for name in CACHES if name in takes), "cache")

    @property
    def whole(self) -> Any:
        return self._whole[0]

    @property
    def config(self) -> Any:
        return self.model.config

    @property
    def generation_config(self) -> Any:
        return self.whole.generation_config

    @property
    def device(self) -> torch.device:
        found: torch.device = self.model.device
        return found

    @property
    def dtype(self) -> torch.dtype:
        found: torch.dtype = self.model.dtype
        return found

    def get_input_embeddings(self) -> Any:
        return self.model.get_input_embeddings()

    def get_output_embeddings(self) -> Any:
        return self.lm_head

    def set_attn_implementation(self, name: str) -> None:
        """Of the language model alone: towers look in all directions."""
        self.model.set_attn_implementation(name)

    def forward(
        self,
        input_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: Any = None,
        logits_to_keep: int | Tensor = 0,
        **more: Any,
    ) -> Any:
        """As transformers' own: `logits` [batch, kept, vocab], and whatever else was asked for."""
        given: dict[str, Any] = {"input_ids": input_ids} if inputs_embeds is None else {"inputs_embeds": inputs_embeds}
        given |= {"attention_mask": attention_mask, "position_ids": position_ids, self._cache: cache}
        found = self.model(**{name: one for name, one in given.items() if one is not None}, **more)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(found.last_hidden_state[:, kept])
        others = {name: getattr(found, name, None) for name in ("hidden_states", "attentions")}
        return SimpleNamespace(logits=logits, **others)
