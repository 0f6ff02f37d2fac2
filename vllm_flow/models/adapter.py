"""Adapters: a LoRA in a folder that peft has written. What is wrong with one is said before anything loads.

Its weights are safetensors or they are refused, as a model's are. Imports neither torch nor peft.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
RIGHT = "Give a folder that peft's `save_pretrained` has written."


@dataclass(frozen=True)
class Adapter:
    """A folder that holds what it should."""

    folder: Path

    @property
    def identity(self) -> str:
        """`name@hash`, the first twelve digits of the SHA-256 of the configuration and the weights, for the record."""
        digest = hashlib.sha256((self.folder / CONFIG).read_bytes())
        with (self.folder / WEIGHTS).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return f"{self.folder.name}@{digest.hexdigest()[:12]}"


def find_adapter(given: str) -> Adapter:
    """The adapter in this folder. Raises ValueError, which says what is wrong and what would be right."""
    try:
        folder = Path(given).expanduser().resolve()
        there = folder.is_dir()
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, ~nobody, a zero byte
        raise ValueError(f"there can be no such place ({str(error).rstrip('.')}). Write another path.") from None
    if not there:
        raise ValueError(f"there is no folder '{given}'. {RIGHT}")
    if not (folder / CONFIG).is_file():
        raise ValueError(f"there is no {CONFIG} in '{given}'. {RIGHT}")
    _check_config(folder / CONFIG)
    if not (folder / WEIGHTS).is_file():
        pickled = next((one.name for kind in ("*.bin", "*.pt") for one in sorted(folder.glob(kind))), None)
        found = f" (but {pickled})" if pickled else ""
        refused = "Pickled weights can run code and are never read: save it again with a newer peft."
        raise ValueError(f"there is no {WEIGHTS} in '{given}'{found}. {refused if pickled else RIGHT}")
    if importlib.util.find_spec("peft") is None:
        raise ValueError("it needs peft, which is not installed. Run: pip install 'vllm-flow[adapt]'.")
    return Adapter(folder)


def _check_config(file: Path) -> None:
    try:
        config: Any = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file.name} cannot be read ({str(error).rstrip('.')}). {RIGHT}") from None
    kind = config.get("peft_type") if isinstance(config, dict) else None
    if kind != "LORA":
        raise ValueError(f"{file.name} is not that of a LoRA, but of {kind or 'nothing that peft knows'}. Give a LoRA.")
    if config.get("megatron_config"):
        raise ValueError(f"{file.name} names code to import, which is never done. Leave megatron_config out of it.")
