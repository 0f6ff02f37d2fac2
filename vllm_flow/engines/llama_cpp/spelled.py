"""The bytes of a GGUF file's tokens, for what holds answers to shapes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import llama_cpp

from vllm_flow.engines.shaping import spelled_tokenizer

if TYPE_CHECKING:
    from llguidance import LLTokenizer


def gguf_tokenizer(model: Any, end_ids: Collection[int]) -> Callable[[], LLTokenizer]:
    """model: a `llama_cpp.Llama`. Control tokens stand in no text."""

    def make() -> LLTokenizer:
        vocabulary = llama_cpp.llama_model_get_vocab(model.model)
        ids = range(model.n_vocab())
        control = [one for one in ids if llama_cpp.llama_vocab_is_control(vocabulary, one)]
        tokens = [model.detokenize([one], special=True) for one in ids]
        return spelled_tokenizer(tokens, control, end_ids, lambda text: model.tokenize(text, add_bos=False))

    return make
