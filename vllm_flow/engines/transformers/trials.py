"""Trials: what `fitting.py` has found out by trying a model, kept on disk so that no later start tries it again.

It holds for the same weights, run by the same code on the same kind of processor with as many threads: a file is named
after the weights and how they are to run, and says under what it was found. Under anything else it counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

import torch
import transformers

from vllm_flow.core.files import replaced
from vllm_flow.models.cache import models_folder

log = logging.getLogger("vllm_flow")
DECIDES = ("ATEN_", "DNNL_", "GOMP_", "KMP_", "MKL_", "OMP_", "ONEDNN_")
"""How environment variables begin that choose kernels, or how work is shared out."""

OF_COMMIT = re.compile(r"[^/@]+(/[^/@]+)?@[0-9a-f]{40}")
"""What the hub's weights are called when it is known which they are."""


class Found(TypedDict, total=False):
    """Of a model that runs the fast way; without a key where that was not tried."""

    lean: bool
    """Whether the lean forward pass gives the model's logits."""
    least: int | None
    """As `least_tokens` says."""


class Trials:
    """What is known of one model."""

    def __init__(self, file: Path | None) -> None:
        """file: None for a model of which nothing is kept."""
        self._file = file
        self._under = _circumstances() if file is not None else ""

    def found(self) -> Found:
        """What was found under the same circumstances; empty for what was never tried under them."""
        if self._file is None:
            return {}
        try:
            kept = json.loads(self._file.read_text("utf-8"))
            found: Found = kept["found"] if kept["under"] == self._under else {}
            return found
        except (OSError, ValueError, LookupError, TypeError):  # there is none, or it is damaged
            return {}

    def keep(self, found: Found) -> None:
        """For the next start. Where the cache cannot be written, that one has to try again."""
        if self._file is None or found == self.found():
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with replaced(self._file) as file:
                json.dump({"under": self._under, "found": found}, file)
        except OSError:
            log.debug("what was tried is not kept", exc_info=True)


def trials_of(weights: str, model: Any, quantize: str | None) -> Trials:
    """Those of a model on the CPU whose weights are known. weights: a folder, or NAME@COMMIT of the hub.

    Nothing is kept of a branch, which may move: a folder by its files, or a commit, says what the weights are.
    """
    files = sorted(Path(weights).glob("*.safetensors")) if os.path.isabs(weights) else []
    if model.device.type != "cpu" or not (files or OF_COMMIT.fullmatch(weights)):
        return Trials(None)
    config = model.config.to_json_string(use_diff=False)  # the choice of layers is in it
    name = _digest([weights, *map(_stamp, files), config, str(model.dtype), str(quantize)])
    return Trials(models_folder().parent / "trials" / f"{name}.json")


def _stamp(file: Path) -> str:
    facts = file.stat()
    return f"{file.name} {facts.st_size} {facts.st_mtime_ns}"


def _circumstances() -> str:
    """A digest of everything beside the model that decides what a trial finds."""
    code = [path.read_text("utf-8") for path in sorted(Path(__file__).parent.rglob("*.py"))]
    kernels = [torch.__version__, transformers.__version__, torch.backends.cpu.get_cpu_capability()]
    chosen = [f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(DECIDES)]
    threads = [str(torch.get_num_threads()), torch.get_float32_matmul_precision()]
    return _digest([*code, *kernels, *chosen, *threads, *_processor()])


def _processor(told: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Its kind and what it can do, of its first core, and nothing that changes from hour to hour."""
    try:
        first = told.read_text("utf-8").partition("\n\n")[0]
    except OSError:  # not Linux
        return [platform.machine(), platform.processor()]
    return [line for line in first.splitlines() if line.startswith(("model name", "flags", "CPU part", "Features"))]


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
