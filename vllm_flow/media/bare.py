"""Bare files: a PNG or JPEG without what only describes it, so that no decoder reads, unpacks or warns of such things.

Decoders parse comments, profiles and notes of the camera when they open a file, and say what is wrong with them through
`warnings`, which are one for all threads. The two facts that matter are taken out here: how it is to be turned (EXIF
3.0, tag 0x0112) and how many frames there are (PNG, third edition, chunk acTL).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from vllm_flow.media.formats import Format

EXIF = b"Exif\0\0"
ORIENTATION, SHORT = 0x0112, 3
UPRIGHT = 1
START_OF_SCAN, END = 0xDA, 0xD9
JFIF, EXIF_MARKER, ADOBE, COMMENT = 0xE0, 0xE1, 0xEE, 0xFE
PNG_HEADER = 8


@dataclass(frozen=True, slots=True)
class Bare:
    data: bytes
    exif: bytes = b""
    frames: int = 1
    bits: int = 8
    """Of each channel, as the file has it."""


def bare(data: bytes, found: Format) -> Bare:
    """Whatever does not look as it should is left as it is, for the decoder to refuse."""
    if found == "PNG":
        return _bare_png(data)
    return _bare_jpeg(data) if found == "JPEG" else Bare(data)


def _bare_png(data: bytes) -> Bare:
    kept, exif, frames = [data[:PNG_HEADER]], b"", 1
    for name, start, end in _chunks(data):
        body = data[start + 8 : end - 4]
        if name[0] & 0x20 == 0 or name == b"tRNS":  # a capital letter: critical
            kept.append(data[start:end])
        elif name == b"eXIf":
            exif = body
        elif name == b"acTL" and len(body) == 8:
            frames = max(1, int.from_bytes(body[:4]))
    return Bare(b"".join(kept), exif, frames, data[24] if len(data) > 24 else 8)


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    place = PNG_HEADER
    while place + 8 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4])
        name = data[place + 4 : place + 8]
        yield name, place, end
        if name == b"IEND":
            return
        place = end


def _bare_jpeg(data: bytes) -> Bare:
    kept, exif, place = [data[:2]], b"", 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a filling byte
            place += 1
            continue
        if marker in (START_OF_SCAN, END) or marker < 0xC0:
            break
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4])
        if marker == EXIF_MARKER and data.startswith(EXIF, place + 4) and not exif:
            exif = data[place + 4 : end]
        if not (JFIF < marker < ADOBE or ADOBE < marker <= 0xEF or marker == COMMENT):
            kept.append(data[place:end])
        place = end
    return Bare(b"".join((*kept, data[place:])), exif)


def orientation(exif: bytes) -> int:
    """1 to 8; 1, upright, for whatever says nothing that can be read."""
    exif = exif.removeprefix(EXIF)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return UPRIGHT
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, entry)
            if tag == ORIENTATION:
                return value if kind == SHORT and 1 <= value <= 8 else UPRIGHT
    except struct.error:  # cut off
        pass
    return UPRIGHT
