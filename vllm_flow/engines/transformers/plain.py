"""The plain path, for models that `network.py` cannot run: one sequence at a time, with the model's own cache.

Slower when several requests are in flight, and no prompt that they share is read once; but every causal language model
of transformers runs here.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence as Many
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from vllm_flow.engines.transformers.loaded import Span
from vllm_flow.engines.transformers.slots import Sequence

CACHES = ("cache", "past_key_values", "cache_params")
"""What models call it; until transformers 5.24 by one of the last two."""


class PlainSequence(Sequence):
    """A sequence with a cache of the model's own kind."""

    def __init__(self, cache: Any) -> None:
        super().__init__()
        self.cache = cache


class PlainNetwork:
    """Reads spans one after the other. A prompt is read in one piece."""

    chunk: int | None = None
    bytes_per_token = 0
    """Not known: the model's own cache may be of any kind."""

    def __init__(self, model: Any) -> None:
        self.model = model
        takes = inspect.signature(model.forward).parameters
        self._cache = next((name for name in CACHES if name in takes), None)
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    def sequence(self, prompt_tokens: int) -> Sequence:
        return PlainSequence(DynamicCache(config=self.model.config))

    def leave(self, sequence: Sequence) -> None:
        """Nothing: the cache goes with its sequence."""

    def begin_decoding(self, sequence: Sequence) -> None:
        """Nothing: the cache grows by itself."""

    @torch.inference_mode()
    def fork(self, sequence: Sequence) -> Sequence:
        twin = PlainSequence(copy.deepcopy(sequence.cache) if isinstance(sequence, PlainSequence) else None)
        twin.length, twin.shown = sequence.length, sequence.shown
        return twin

    @torch.inference_mode()
    def read(self, spans: Many[Span]) -> Tensor:
        """The logits of the token after each span, float32 [spans, vocab]; none of them can want `every`."""
        return torch.cat([self._read(span) for span in spans])

    def close(self) -> None:
        """Nothing was registered anywhere."""

    def _read(self, span: Span) -> Tensor:
        ids = torch.tensor([list(span.tokens)], device=self.model.device)
        own = {self._cache: span.sequence.cache} if self._cache and isinstance(span.sequence, PlainSequence) else {}
        beside = self._beside(span)
        logits: Tensor = self.model(input_ids=ids, use_cache=True, **own, **self._last_only, **beside).logits
        span.sequence.length += len(span.tokens)
        return logits[:, -1].float()

    def _beside(self, span: Span) -> dict[str, Any]:
        """What the model is given beside tokens."""
        return {}
