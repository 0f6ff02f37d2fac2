"""GGUF files: read once by transformers, then kept as safetensors, which load in a fraction of the time.

The weights are kept in float32: quantised blocks are exact in it, and in nothing smaller. transformers'
`from_pretrained(gguf_file=…)` would do, but asks for accelerate; its reader alone does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vllm_flow.core.errors import ModelError
from vllm_flow.models.quiet import quiet


def convert(file: Path, folder: Path, where: str) -> None:
    """Write model, tokenizer and chat template of a .gguf `file` into `folder`.

    Raises ModelError, which begins with `where`, when the file is not what it should be.
    """
    from transformers import AutoTokenizer

    try:
        with quiet():
            model = _read(file)
            tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name, local_files_only=True)
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except OSError:
        raise  # the disk's fault, not the file's
    except Exception as cause:  # transformers and gguf raise whatever a malformed file makes them
        first = str(cause).partition("\n")[0].rstrip(".")
        raise ModelError(
            f"{where}: {file.name} cannot be read as GGUF: {type(cause).__name__}: {first}. Give a complete .gguf file "
            "of a text model that transformers knows."
        ) from cause


def _read(file: Path) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers import modeling_gguf_pytorch_utils as reader

    config = AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name, local_files_only=True)
    with torch.device("meta"):  # shapes only: every weight comes from the file
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    bar, reader.tqdm = reader.tqdm, lambda items, **_: items  # it heeds no setting, and the command shows its own
    try:
        read = reader.load_gguf_checkpoint(
            str(file), return_tensors=True, model_to_load=model, torch_dtype=torch.float32
        )
    finally:
        reader.tqdm = bar
    tensors = read["tensors"]
    model.load_state_dict(tensors, strict=False, assign=True)
    model.tie_weights()
    missing = [name for name, weight in model.named_parameters() if weight.is_meta]
    if missing:
        raise ValueError(f"it lacks {missing[0]} and {len(missing) - 1} more of the model's weights")
    return model
