"""The cache of converted weights. A folder in it is complete or absent: it is built beside its place and then renamed.

So a kill in the middle leaves nothing that could be taken for weights, and of two processes that build the same folder
the first one's is used by both.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from vllm_flow.core.errors import ModelError

ABANDONED_S = 24 * 3600.0
"""An unfinished folder this old belongs to a process that was killed."""


def models_folder() -> Path:
    """`models` in the user's cache, or in the folder that VLLM_FLOW_CACHE names. Raises ModelError for `~nobody`."""
    given = os.environ.get("VLLM_FLOW_CACHE")
    try:
        return (Path(given).expanduser() if given else user_cache_path("vllm-flow")) / "models"
    except RuntimeError as error:
        raise ModelError(f"VLLM_FLOW_CACHE ({given}): {error} Write the folder out.") from None


def made_once(name: str, make: Callable[[Path, Path], None]) -> Path:
    """The cache's folder `name`; if absent, `make(folder, scratch)` fills it.

    Raises ModelError when it cannot be written. `scratch` is a folder on the same disk for
    whatever `make` needs on the way; it is removed.
    """
    final = models_folder() / name
    if final.is_dir():
        return final
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(final.parent)
        beside = Path(tempfile.mkdtemp(prefix=".making-", dir=final.parent))
        try:
            folder, scratch = beside / "folder", beside / "scratch"
            folder.mkdir()
            scratch.mkdir()
            make(folder, scratch)
            _move(folder, final)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as cause:
        raise ModelError(
            f"{final}: cannot be written: {cause.strerror or cause}. Free some space, or name another folder with the "
            "environment variable VLLM_FLOW_CACHE."
        ) from cause
    return final


def _move(folder: Path, final: Path) -> None:
    try:
        folder.rename(final)
    except OSError:
        if not final.is_dir():  # else another process was faster, and its folder is as good
            raise


def _remove_abandoned(parent: Path) -> None:
    for old in parent.glob(".making-*"):
        with suppress(FileNotFoundError):  # another process has just finished with it
            if time.time() - old.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(old, ignore_errors=True)
