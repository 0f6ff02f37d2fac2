"""Loading: from a GGUF file to a model that the loop can run, with its tokenizer, its template and its facts."""

from __future__ import annotations

import ctypes
import importlib.metadata
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp

from vllm_flow.core.errors import ModelError
from vllm_flow.core.shape import KINDS
from vllm_flow.engines.llama_cpp.network import LlamaNetwork
from vllm_flow.engines.llama_cpp.options import LlamaCpp
from vllm_flow.engines.llama_cpp.render import GgufRenderer
from vllm_flow.engines.llama_cpp.spelled import gguf_tokenizer
from vllm_flow.engines.shaping import Shapes
from vllm_flow.engines.transformers.loaded import Loaded
from vllm_flow.engines.transformers.vocabulary import Vocabulary
from vllm_flow.models.digest import file_digest
from vllm_flow.models.locate import gguf_file

log = logging.getLogger("vllm_flow")
ERROR = 4
"""GGML_LOG_LEVEL_ERROR."""
_complaints: list[str] = []


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _hear(level: int, text: bytes, _data: Any) -> None:
    """What llama.cpp would write to stderr."""
    said = text.decode("utf-8", "replace").strip()
    log.debug("llama.cpp: %s", said)
    if level == ERROR:
        _complaints.append(said)


def load(options: LlamaCpp) -> Loaded:
    """Weights in memory. Raises ModelError."""
    file, where = gguf_file(options.model)
    llama_cpp.llama_log_set(_hear, ctypes.c_void_p(0))
    _complaints.clear()
    try:
        length = _context_length(options, file, where)
        threads = {"n_threads": options.threads, "n_threads_batch": options.threads}
        model = llama_cpp.Llama(str(file), n_ctx=length, n_gpu_layers=options.gpu_layers, verbose=False, **threads)
    except ValueError as cause:
        why = (_complaints[0] if _complaints else str(cause)).rstrip(".")
        raise ModelError(
            f"{where}: llama.cpp cannot load it: {why}. Give a complete .gguf file of a text model, or a smaller "
            "engine.max_context if memory is short."
        ) from cause
    renderer = GgufRenderer(model)
    facts = {
        "engine": "llama_cpp",
        "model": options.model.name,
        "weights": str(file),
        "weights_sha256": file_digest(file),  # the tokenizer is in it
        "description": model.metadata.get("general.name", ""),
        "device": "gpu" if options.gpu_layers else "cpu",
        "llama_cpp_python": importlib.metadata.version("llama-cpp-python"),
        "context_length": length,
        "template": renderer.template,
        "tools": renderer.tools,
        "shapes": sorted(KINDS),
        "batching": "none: one request at a time",
        "deterministic": True,
    }
    ends = _end_ids(model)
    vocabulary = Vocabulary(GgufTokenizer(model), model.n_vocab(), ends)
    shapes = Shapes(gguf_tokenizer(model, vocabulary.end_ids))
    return Loaded(LlamaNetwork(model), renderer, _decoder(model), ends, vocabulary, shapes, length, facts)


def _context_length(options: LlamaCpp, file: Path, where: str) -> int:
    """The smallest of what the file, the model's preset and the engine's own option allow."""
    native, wanted = _native_context(file) or options.max_context, options.model.context_length
    if wanted is not None and wanted > native:
        raise ModelError(f"{where}: model.context_length {wanted} is more than the {native} that it reads. Lower it.")
    return min(wanted or native, options.max_context)


def _native_context(file: Path) -> int:
    """How much the file says that its model reads; 0 if it does not say. Raises ValueError. Reads no weights."""
    llama_cpp.llama_backend_init()
    how = llama_cpp.llama_model_default_params()
    how.vocab_only = True
    header = llama_cpp.llama_model_load_from_file(os.fsencode(file), how)
    if not header:
        raise ValueError("it is no GGUF file that it knows")
    try:
        kind = _told(header, "general.architecture")
        return int(_told(header, f"{kind}.context_length") or 0)
    finally:
        llama_cpp.llama_model_free(header)


def _told(header: Any, key: str) -> str:
    """What the file says under a key, or nothing."""
    room = ctypes.create_string_buffer(256)
    llama_cpp.llama_model_meta_val_str(header, key.encode(), room, len(room))
    return room.value.decode("utf-8", "replace")


class GgufTokenizer:
    """The file's tokenizer as `vocabulary.py` asks one: control tokens by their names, and none added."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __len__(self) -> int:
        return int(self._model.n_vocab())

    def encode(self, text: str, **_how: Any) -> list[int]:
        return [int(one) for one in self._model.tokenize(text.encode("utf-8", "replace"), add_bos=False, special=True)]

    def batch_decode(self, several: Sequence[list[int]], **_how: Any) -> list[str]:
        return [self._model.detokenize(ids, special=True).decode("utf-8", "replace") for ids in several]


def _decoder(model: Any) -> Any:
    def decode(ids: Sequence[int]) -> str:
        return str(model.detokenize(list(ids)).decode("utf-8", "replace"))

    return decode


def _end_ids(model: Any) -> frozenset[int]:
    """Every id that the file says ends a generation: of a turn, of a message, of the text."""
    words = llama_cpp.llama_model_get_vocab(model.model)
    return frozenset(one for one in range(model.n_vocab()) if llama_cpp.llama_vocab_is_eog(words, one))
