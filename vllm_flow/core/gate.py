"""The gate, as whoever takes in images and sounds sees it: a resource by the name of `media`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from vllm_flow.core.media import Medium


@runtime_checkable
class Gate(Protocol):
    """The one way in for images and sounds."""

    def read(self, path: str, folder: Path | None = None) -> Medium:
        """What is in a file, told by its content. Raises MediaError, one line that begins with the path.

        folder: where a relative path starts, if not in the working directory; what lies in it may be read, too.
        """
        ...

    def take(self, data: bytes, source: str) -> Medium:
        """What came as bytes. Raises MediaError, one line that begins with the source."""
        ...
