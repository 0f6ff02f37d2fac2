"""Adapters on disk: each version a folder that peft reads, complete or absent, and never changed.

So what a conversation has learned outlives the process, `model.adapter` takes it for good, and of two that learn the
same the first one's is used by both. In memory are only those that were used last.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from vllm_flow.core.adapting import Adapted, Tuning
from vllm_flow.core.codec import encode
from vllm_flow.core.errors import EngineError
from vllm_flow.core.files import private_file
from vllm_flow.engines.transformers.lowrank import LowRank, Pair, Ready
from vllm_flow.models.adapter import CONFIG, WEIGHTS

WHERE = "resources.engine.adapters"
LEARNED = "learned.json"
VERSION = re.compile(r"[0-9a-f]{32}")
READY_BYTES = 512 << 20
"""Of adapters that are ready in memory; one that is asked for is, whatever its size."""
PREFIX = "base_model.model."
"""What peft puts before a layer's name."""


class Adapters:
    """Those of one model."""

    def __init__(self, model: Any, base: str, folder: str | None, transposed: bool) -> None:
        """base: a hash of the model as it is. folder: None for one that is gone with the engine. Touches no file.

        transposed: whether the weights stand in the model as [inputs, outputs], which peft wants to be told.
        """
        self._model = model
        self._base = base
        self._given = folder
        self._transposed = transposed
        self._own: tempfile.TemporaryDirectory[str] | None = None
        self._ready: OrderedDict[str, Ready] = OrderedDict()

    def ready(self, version: str) -> Ready:
        """Raises EngineError for a version that is not there, or another model's."""
        found = self._ready.get(version)
        if found is None:
            found = self._ready[version] = Ready(self._model, self.read(version)[0])
        self._ready.move_to_end(version)
        while len(self._ready) > 1 and sum(one.bytes for one in self._ready.values()) > READY_BYTES:
            self._ready.popitem(last=False)
        return found

    def known(self, version: str) -> Adapted | None:
        """How a version was learned, if it was; None also for one that cannot be read: then it is learned again."""
        try:
            self.read(version)
            said = _read_json(self._folder / version / LEARNED)["adapted"]
            losses, rates = tuple(said["losses"]), tuple(said["learning_rates"])
            return Adapted(version, said["steps"], said["tokens"], losses, rates)
        except (EngineError, KeyError, TypeError):
            return None

    def check_takes(self) -> None:
        """Raises EngineError for a folder that takes nothing: to be asked before what takes long."""
        folder = self._folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as cause:
            raise _unwritable(folder, cause) from cause

    def read(self, version: str) -> tuple[LowRank, dict[str, Any]]:
        """The numbers, and peft's configuration of them. Raises EngineError, also when they are not what was saved."""
        folder = self._folder / version
        try:
            if not VERSION.fullmatch(version) or not folder.is_dir():
                raise EngineError(f"the adapter {version[:40]} is not there. {self._advice()}")
            config, learned = _read_json(folder / CONFIG), _read_json(folder / LEARNED)
            if learned["sha256"] != _digest(folder):
                raise ValueError("it is not what was saved")
            weights = load_file(folder / WEIGHTS, device=str(self._model.device))
            names = [name.removesuffix(".lora_A.weight") for name in weights if name.endswith(".lora_A.weight")]
            pairs = {
                name.removeprefix(PREFIX): Pair(weights[f"{name}.lora_A.weight"], weights[f"{name}.lora_B.weight"])
                for name in names
            }
            scale = config["lora_alpha"] / config["r"]
            base = learned["base"]
        except (OSError, ValueError, KeyError, TypeError, ArithmeticError, SafetensorError) as cause:
            why = f"{type(cause).__name__}: {cause}".rstrip(".")
            raise EngineError(f"{folder}: it cannot be read ({why}). {self._advice()}") from cause
        if base != self._base:
            what = "was learned by another model, or by this one in other numbers or with other layers"
            raise EngineError(f"the adapter {version} {what}. Choose that model again, or begin another conversation.")
        return LowRank(pairs, scale), config

    def keep(self, adapter: LowRank, how: Tuning, adapted: Adapted, after: str | None) -> None:
        """Raises EngineError when it cannot be written."""
        final = self._folder / adapted.version
        beside = final.with_name(f".{adapted.version}.{secrets.token_hex(4)}.new")
        try:
            beside.mkdir(mode=0o700, parents=True)
            self._write(beside, adapter, how)
            learned = {"base": self._base, "after": after, "adapted": replace(adapted, kept=None)}
            with private_file(beside / LEARNED) as file:
                file.write(encode({**learned, "sha256": _digest(beside)}))
            try:
                beside.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
                if self.known(adapted.version) is None:  # else it was learned beside this, and is the same
                    shutil.rmtree(final)
                    beside.rename(final)
        except OSError as cause:
            raise _unwritable(final, cause) from cause
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def close(self) -> None:
        self._ready.clear()
        if self._own is not None:
            self._own.cleanup()

    @property
    def _folder(self) -> Path:
        if self._given is not None:
            return Path(self._given).expanduser()
        if self._own is None:
            self._own = tempfile.TemporaryDirectory(prefix="vllm-flow-adapters-")
        return Path(self._own.name)

    def _write(self, folder: Path, adapter: LowRank, how: Tuning) -> None:
        tensors = {}
        for name, pair in adapter.pairs.items():
            for matrix, letter in zip(pair, "AB", strict=True):
                tensors[f"{PREFIX}{name}.lora_{letter}.weight"] = matrix.detach().to("cpu", torch.float32).contiguous()
        content = save(tensors, metadata={"format": "pt"})  # its save_file says of a full disk no more than a text
        with os.fdopen(os.open(folder / WEIGHTS, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as numbers:
            numbers.write(content)
        config = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": getattr(self._model.config, "_name_or_path", "") or None,
            "r": how.rank,
            "lora_alpha": how.alpha,
            "target_modules": list(adapter.pairs),
            "lora_dropout": 0.0,
            "bias": "none",
            "fan_in_fan_out": self._transposed,
            "inference_mode": True,
        }
        with private_file(folder / CONFIG) as file:
            json.dump(config, file, indent=2)

    def _advice(self) -> str:
        if self._given is None:
            what = "What is learned ends with the engine unless it has a folder"
            return f"{what}: set {WHERE}=FOLDER before it learns. Now take turns back, or begin another conversation."
        where = f"Set {WHERE} to the folder where it was saved (this is {self._given})"
        return f"{where}, take turns back, or begin another conversation."


def _digest(folder: Path) -> str:
    """SHA-256 of what peft reads, in hex."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes() + (folder / CONFIG).read_bytes()).hexdigest()


def _unwritable(path: Path, cause: OSError) -> EngineError:
    what = f"{WHERE}: {path} cannot be written: {cause.strerror or cause}"
    return EngineError(f"{what}. Free some space, or name another folder.")


def _read_json(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return found
