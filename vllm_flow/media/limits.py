"""Limits: how much an image or a sound may take. A small file can unfold to gigabytes, so all of them are checked
before it does.
"""

from __future__ import annotations

from dataclasses import dataclass

from vllm_flow.core.errors import MediaError

MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    max_bytes: int = 256 * MB
    """How long a file may be."""
    max_pixels: int = 40_000_000
    """Width times height of an image."""
    max_seconds: float = 3600.0
    """How long a sound may last."""
    max_decoded_bytes: int = 512 * MB
    """What a sound takes decoded: samples of all channels, four bytes each."""


DEFAULT = Limits()


def check_bytes(length: int, where: str, limits: Limits) -> None:
    """Raises MediaError for an empty file and for one that is too long."""
    if not length:
        raise MediaError(f"{where}: it is empty. Give an image or a sound.")
    if length > limits.max_bytes:
        what = f"it has {length:,} bytes, and at most {limits.max_bytes:,} are read"
        raise MediaError(f"{where}: {what}. Make it smaller, or raise max_bytes.")


def named(source: str, otherwise: str) -> str:
    """What an error calls it, in one line: file names may have line ends in them."""
    return (source if source.isprintable() else ascii(source)) or otherwise


def reason(error: BaseException) -> str:
    """What a decoder said, in brackets and in one short line; or nothing."""
    text = " ".join(str(getattr(error, "error_string", error)).split()).rstrip(".").removeprefix("Error : ")
    text = text if text.isprintable() else ascii(text)
    return f" ({text if len(text) <= 100 else text[:99] + '…'})" if text else ""
