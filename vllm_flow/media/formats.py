"""Formats: what is in a file, told by its first bytes. Only what is known here ever meets a decoder."""

from __future__ import annotations

from typing import Literal

from vllm_flow.core.errors import MediaError
from vllm_flow.core.media import MediaKind

Format = Literal["PNG", "JPEG", "WEBP", "WAV", "FLAC", "OGG", "MP3"]

KINDS: dict[Format, MediaKind] = {
    "PNG": "image",
    "JPEG": "image",
    "WEBP": "image",
    "WAV": "audio",
    "FLAC": "audio",
    "OGG": "audio",
    "MP3": "audio",
}
IMAGES, SOUNDS = "an image (PNG, JPEG, WEBP)", "a sound (WAV, FLAC, OGG, MP3)"
READ = {"image": IMAGES, "audio": SOUNDS}


def format_of(data: bytes) -> Format | None:
    """None for everything else."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"RIFF"):
        return {b"WEBP": "WEBP", b"WAVE": "WAV"}.get(data[8:12])  # type: ignore[return-value]
    if data.startswith(b"fLaC"):
        return "FLAC"
    if data.startswith(b"OggS"):
        return "OGG"
    if data.startswith(b"ID3") or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE6 == 0xE2):  # a frame of layer 3
        return "MP3"
    return None


def expect(data: bytes, kind: MediaKind, where: str) -> Format:
    """The format, of that kind. Raises MediaError."""
    found = format_of(data)
    if found is None or KINDS[found] != kind:
        what = f"it is {READ[KINDS[found]].split(' (')[0]} ({found})" if found else f"it is not {READ[kind]}"
        raise MediaError(f"{where}: {what}. {'Give' if found else 'Convert it, or give'} {READ[kind]}.")
    return found
