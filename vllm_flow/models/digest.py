"""Digests of weights and tokenizers: whether two runs had the same model, whatever its folder is called.

Every byte counts, so a file is read whole; what was read is remembered in the user's cache by path, size and time of
change, for the next run not to read it again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vllm_flow.core.files import replaced
from vllm_flow.models.cache import models_folder

WEIGHTS = ("*.safetensors", "config.json", "generation_config.json")
TOKENIZER = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt", "chat_template*")
log = logging.getLogger("vllm_flow")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 in hex of what a folder of `save_pretrained` holds: of the network, and of the tokenizer."""
    return {"weights_sha256": _of(folder, WEIGHTS), "tokenizer_sha256": _of(folder, TOKENIZER)}


def _of(folder: Path, patterns: Iterable[str]) -> str:
    """Over the names and contents of the files that match."""
    files = sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})
    named = [[file.relative_to(folder).as_posix(), file_digest(file)] for file in files]
    return hashlib.sha256(json.dumps(named).encode("ascii")).hexdigest()


def file_digest(file: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    state = file.stat()
    key = json.dumps([os.fspath(file.resolve()), state.st_size, state.st_mtime_ns])
    kept = models_folder().parent / "digests" / f"{hashlib.sha256(key.encode('ascii')).hexdigest()[:32]}.json"
    try:
        known: Any = json.loads(kept.read_text(encoding="ascii"))
        if known["file"] == key:
            return str(known["sha256"])
    except (OSError, ValueError, TypeError, KeyError):
        pass  # not read before
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    _keep(kept, {"file": key, "sha256": found})
    return found


def _keep(path: Path, what: dict[str, str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as file:
            json.dump(what, file)
    except OSError as error:  # the next run reads the file again, and that is all
        log.debug("%s: the digest is not kept: %s", path, error)
