"""Cut off: sounds whose end is missing, which decoders would pass over in silence. By what the containers say."""

from __future__ import annotations

from vllm_flow.media.formats import Format

UNSAID = 0x7FF0_0000
"""From here on a size is that of a program that wrote to a pipe and did not know it. Others then say 0."""
PAGE_HEADER = 27


def cut_off(data: bytes, found: Format) -> int:
    """How many bytes are missing at least; 0 also where the format does not tell, or the decoder does."""
    return {"WAV": _wav, "OGG": _ogg}[found](data) if found in ("WAV", "OGG") else 0


def _wav(data: bytes) -> int:
    """By the size of its chunk `data`."""
    place = 12
    while place + 8 <= len(data):
        size, body = int.from_bytes(data[place + 4 : place + 8], "little"), place + 8
        if data[place : place + 4] == b"data":
            return max(0, body + size - len(data)) if size < UNSAID else 0
        place = body + size + size % 2
    return 0


def _ogg(data: bytes) -> int:
    """By the lengths that its last page has of its parts (RFC 3533, section 6)."""
    page = data[max(0, data.rfind(b"OggS\0")) :]
    parts = page[PAGE_HEADER : PAGE_HEADER + page[26]] if len(page) >= PAGE_HEADER else b""
    return max(0, PAGE_HEADER + len(parts) + sum(parts) - len(page))
