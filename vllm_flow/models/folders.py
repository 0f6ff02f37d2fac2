"""Folders of weights that a user names: looked into before anything is read, so that what is lacking has a name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vllm_flow.core.errors import ModelError

SHARDED = "model.safetensors.index.json"
"""In the place of model.safetensors, where that is in several pieces."""


def folder_with(where: str, path: str, needed: Sequence[str]) -> Path:
    """The folder at `path`, which has each of the files; of `a or b`, one.

    Raises ModelError, which begins with `where`.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise ModelError(f"{where}: there is no such folder. Give one with {', '.join(needed)} in it.")
    for names in needed:
        instead = [SHARDED] if names == "model.safetensors" else []
        if not any((folder / name).is_file() for name in (*names.split(" or "), *instead)):
            raise ModelError(f"{where}: there is no {names} in it. Give a folder with {', '.join(needed)}.")
    return folder
