"""llama.cpp as something that reads tokens and gives logits: one sequence at a time, from an empty cache."""

from __future__ import annotations

from collections.abc import Sequence as Many
from typing import Any

import llama_cpp
import numpy as np
import torch
from torch import Tensor

from vllm_flow.engines.transformers.loaded import Span
from vllm_flow.engines.transformers.slots import Sequence


class LlamaNetwork:
    """Belongs to one thread at a time. The loop gives it one sequence, and the next when that has left."""

    chunk: int | None = None
    bytes_per_token = 0
    """Its memory is taken when it is loaded."""

    def __init__(self, model: Any) -> None:
        """model: a `llama_cpp.Llama`."""
        self._model = model
        self._vocabulary = model.n_vocab()

    def sequence(self, prompt_tokens: int) -> Sequence:
        """A new one, which has the whole cache: nothing of an answer depends on the one before."""
        self._model.reset()
        self._model._ctx.kv_cache_clear()
        return Sequence()

    def begin_decoding(self, sequence: Sequence) -> None:
        """Nothing: the cache is its own."""

    def leave(self, sequence: Sequence) -> None:
        """Nothing: the next sequence clears the cache."""

    def read(self, spans: Many[Span]) -> Tensor:
        """The logits of the token after each span, float32 [spans, vocab]. Raises RuntimeError when llama.cpp fails."""
        return torch.stack([self._read(span) for span in spans])

    def close(self) -> None:
        self._model.close()

    def _read(self, span: Span) -> Tensor:
        self._model.eval(span.tokens)
        span.sequence.length += len(span.tokens)
        last = llama_cpp.llama_get_logits_ith(self._model.ctx, -1)
        return torch.from_numpy(np.ctypeslib.as_array(last, shape=(self._vocabulary,)).copy())  # the memory is reused
