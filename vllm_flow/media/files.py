"""The gate as a resource: images and sounds of files and of bytes, within limits that a configuration says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from vllm_flow.core.gate import Gate
from vllm_flow.core.media import Medium
from vllm_flow.core.options import OptionProblem, above, at_least
from vllm_flow.core.registry import resource
from vllm_flow.media.limits import Limits
from vllm_flow.media.reading import medium_from, read_bytes, read_medium


@resource("media/files")
@dataclass(frozen=True)
class Files:
    """Images (PNG, JPEG, WEBP) and sounds (WAV, FLAC, OGG, MP3) of the working directory and of the roots."""

    roots: tuple[str, ...] = ()
    """Folders beside the working directory from which files are read."""
    max_bytes: Annotated[int, at_least(1)] = Limits().max_bytes
    """How long a file may be."""
    max_pixels: Annotated[int, at_least(1)] = Limits().max_pixels
    """Width times height of an image."""
    max_seconds: Annotated[float, above(0)] = Limits().max_seconds
    """How long a sound may last."""
    max_decoded_bytes: Annotated[int, at_least(1)] = Limits().max_decoded_bytes
    """What a sound may take decoded: samples of all channels, four bytes each."""

    def problems(self) -> Iterator[OptionProblem]:
        for place, root in enumerate(self.roots):
            if not root.strip():
                yield OptionProblem(("roots", str(place)), "it is empty. Name a folder.")

    def open(self) -> Gate:
        return _Gate(self.roots, Limits(self.max_bytes, self.max_pixels, self.max_seconds, self.max_decoded_bytes))


@dataclass(frozen=True)
class _Gate:
    roots: tuple[str, ...]
    limits: Limits

    def read(self, path: str, folder: Path | None = None) -> Medium:
        if folder is None:
            return read_medium(path, self.roots, self.limits)
        place = path if path.startswith("~") else folder / path
        return medium_from(read_bytes(place, (*self.roots, folder), self.limits), path, self.limits)

    def take(self, data: bytes, source: str) -> Medium:
        return medium_from(data, source, self.limits)
