"""Reading what transformers reads: without its progress bars, and whatever it raises as one error in our words."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from vllm_flow.core.errors import ModelError


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars and the hub's lines about its retries: one error says it all in the end."""
    from transformers.utils import logging as bars

    hub, shown = logging.getLogger("huggingface_hub"), bars.is_progress_bar_enabled()
    level = hub.level
    hub.setLevel(logging.ERROR)
    bars.disable_progress_bar()
    try:
        yield
    finally:
        hub.setLevel(level)
        if shown:
            bars.enable_progress_bar()


@contextmanager
def reading(where: str, right: str) -> Iterator[None]:
    """Raises ModelError for whatever a malformed file, or a hub out of reach, makes a library raise within.

    where: what the error begins with. right: the sentence with which it ends, of what would be read.
    """
    try:
        with quiet():
            yield
    except Exception as cause:
        first = str(cause).partition("\n")[0].rstrip(".")
        raise ModelError(f"{where}: it cannot be read: {type(cause).__name__}: {first}. {right}") from cause
