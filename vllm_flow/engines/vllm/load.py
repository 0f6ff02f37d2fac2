"""Loading: from a Model to vLLM's engine in this process, with the tokenizer and the facts that ours needs.

vLLM is given a folder of safetensors always, so that neither it nor anything it calls asks a hub or reads a pickle.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vllm_flow.core.errors import EngineError, ModelError
from vllm_flow.core.shape import KINDS
from vllm_flow.engines.shaping import Shapes, hf_tokenizer
from vllm_flow.engines.transformers.load import context_length, decoder, end_ids
from vllm_flow.engines.transformers.render import Renderer
from vllm_flow.engines.transformers.vocabulary import Vocabulary
from vllm_flow.engines.transformers.weights import NO_HUB
from vllm_flow.engines.vllm.options import Vllm
from vllm_flow.models.digest import digests
from vllm_flow.models.locate import Folder, Hub, locate
from vllm_flow.models.progress import tell
from vllm_flow.models.quiet import quiet

if TYPE_CHECKING:
    from vllm.v1.engine.llm_engine import LLMEngine

FILES = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
"""What is fetched of a model on the hub: no weights but safetensors, and no code."""
DEFAULTS = {"VLLM_NO_USAGE_STATS": "1", "VLLM_CONFIGURE_LOGGING": "0", "TOKENIZERS_PARALLELISM": "true"}
"""Of vLLM, where the environment says nothing: it sends nobody anything, and writes nothing to stdout."""
AT_ONCE = 4096
"""On a CPU, so many tokens of prompts are read in one step, or one prompt that is longer.

Each is read whole: after a piece of one, vLLM sets the noise of its seed back, which it cannot do on a CPU.
"""


_place = threading.Lock()
"""Held by the one vLLM of this process: it keeps what it computes in variables of its modules, where two would meet."""
TAKEN = (
    "engine vllm: one with other options is open in this process, and vLLM cannot run twice in one. Close that one "
    "first, or ask a server for one of the two: engine=openai engine.dialect=vllm."
)


@dataclass(frozen=True)
class Loaded:
    """vLLM ready to run, and what is known of its model. Belongs to the thread that loaded it."""

    llm: LLMEngine
    renderer: Renderer
    decode: Callable[..., str]
    """Token ids to text, special tokens left out."""
    vocabulary: Vocabulary
    shapes: Shapes
    context_length: int
    steers: bool
    """Whether it can draw an answer whose parameters move, or that has a shape."""
    facts: Mapping[str, Any]
    """For the record: JSON values."""

    def close(self) -> None:
        self.llm.engine_core.shutdown()
        _place.release()


def load(options: Vllm) -> Loaded:
    """Weights in memory. Raises ModelError, and EngineError while another vLLM is open in this process."""
    if not _place.acquire(blocking=False):
        raise EngineError(TAKEN)
    try:
        return _load(options)
    except BaseException:
        _place.release()
        raise


def _load(options: Vllm) -> Loaded:
    folder, where, source = _folder(locate(options.model))
    try:
        with quiet():
            tokenizer, config = _described(folder)
    except Exception as cause:  # whatever malformed files make transformers raise
        raise ModelError(_why(where, cause)) from cause
    length = min(context_length(options.model, config), options.max_context)
    llm = _started(options, folder, where, length)
    model = llm.model_config
    ends = end_ids(model.try_get_generation_config().get("eos_token_id"), tokenizer)
    renderer = Renderer(tokenizer)
    facts = {
        "engine": "vllm",
        "model": options.model.name,
        "weights": source,
        **digests(folder),
        "device": llm.vllm_config.device_config.device_type,
        "dtype": str(model.dtype).removeprefix("torch."),
        "vllm": _version(),
        "compiled": options.compile,
        "context_length": length,
        "template": renderer.template,
        "tools": renderer.tools,
        "shapes": sorted(KINDS),
        "seeded": options.capabilities().seeded,
        "batch_invariant": False,
    }
    vocabulary = Vocabulary(tokenizer, model.get_vocab_size(), ends)
    shapes = Shapes(hf_tokenizer(tokenizer, vocabulary.size, vocabulary.end_ids))
    return Loaded(llm, renderer, decoder(tokenizer), vocabulary, shapes, length, _steers(llm.vllm_config), facts)


def _version() -> str:
    import vllm

    return str(vllm.__version__)


def _started(options: Vllm, folder: Path, where: str, length: int) -> LLMEngine:
    with _alone():
        from vllm import EngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.llm_engine import LLMEngine

        whole = {"enable_chunked_prefill": False, "max_num_batched_tokens": max(length, options.max_rows, AT_ONCE)}

        args = EngineArgs(
            model=str(folder),
            dtype=options.dtype,
            max_model_len=length,
            max_num_seqs=options.max_rows,
            kv_cache_memory_bytes=int(options.kv_cache_gib * 2**30),
            enforce_eager=not options.compile,
            load_format="safetensors",
            skip_tokenizer_init=True,  # prompts come in tokens, and go out so
            disable_log_stats=True,
            use_tqdm_on_load=False,
            **(whole if current_platform.is_cpu() else {}),
        )
        try:
            config = args.create_engine_config()
            if _steers(config):
                from vllm_flow.engines.vllm.processor import Steered

                config.model_config.logits_processors = [Steered]
            return LLMEngine.from_vllm_config(config, disable_log_stats=args.disable_log_stats)
        except Exception as cause:  # whatever it does not know or has no room for
            raise ModelError(_why(where, cause)) from cause


def _steers(config: Any) -> bool:
    """vLLM has two model runners, and the newer one, of GPUs, asks for what changes logits in another way."""
    return not getattr(config, "use_v2_model_runner", False)


@contextmanager
def _alone() -> Iterator[None]:
    """vLLM in this process: it is told by its environment, and kept from what it does to everything else in here."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # it would win over kv_cache_gib
    logging.getLogger("vllm").setLevel(os.environ.get("VLLM_LOGGING_LEVEL", "ERROR"))
    set_num_threads = torch.set_num_threads
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about itself and its own libraries
            yield
    finally:
        torch.set_num_threads = set_num_threads  # on a CPU vLLM puts another there, which does nothing


def _folder(source: Folder | Hub) -> tuple[Path, str, str]:
    """Where the files are, the option that named them, and what the record calls them. Raises ModelError."""
    if isinstance(source, Folder):
        return source.path, source.where, str(source.path)
    where = f"model.hub: {source.name}"
    try:
        folder = _fetched(source)
    except Exception as cause:  # the hub's library has many kinds
        first = str(cause).strip().partition("\n")[0].rstrip(".")
        raise ModelError(f"{where} cannot be had: {type(cause).__name__}: {first}. {NO_HUB}") from cause
    return folder, where, f"{source.name}@{folder.name}"  # the hub's cache names the folder after the commit


def _fetched(source: Hub) -> Path:
    """From the hub's own cache, without asking the hub, or else fetched."""
    from huggingface_hub import snapshot_download

    def snapshot(local: bool) -> Path:
        found = snapshot_download(
            source.name,
            revision=source.revision,
            token=source.token,
            allow_patterns=list(FILES),
            local_files_only=local,
        )
        return Path(found)

    with quiet():
        try:
            if any((folder := snapshot(True)).glob("*.safetensors")):
                return folder
        except OSError:
            pass
        step = f"{source.name}: fetch from the hub"
        tell(step, 0, 1)
        folder = snapshot(False)
        tell(step, 1, 1)
    return folder


def _described(folder: Path) -> tuple[Any, Any]:
    """Tokenizer and configuration."""
    from transformers import AutoConfig, AutoTokenizer

    how = {"trust_remote_code": False, "local_files_only": True}
    return AutoTokenizer.from_pretrained(folder, **how), AutoConfig.from_pretrained(folder, **how)


def _why(where: str, cause: Exception) -> str:
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    first = (lines or [type(cause).__name__])[0].rstrip(".")
    return (
        f"{where}: vLLM cannot load it: {type(cause).__name__}: {first}. Give a text model that vLLM knows, a smaller "
        "engine.max_context or another engine.kv_cache_gib if memory is short, or choose engine=transformers."
    )
