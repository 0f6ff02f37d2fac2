"""Files to bring to the gate, made of given pixels and samples."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import soundfile

from vllm_flow.testing.media import picture, sound


def encoded(shown: PIL.Image.Image, form: str, **how: Any) -> bytes:
    file = io.BytesIO()
    shown.save(file, form, **how)
    return file.getvalue()


def colours(width: int = 7, height: int = 5, seed: int = 0) -> PIL.Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return PIL.Image.fromarray(values)


def recorded(values: np.ndarray[Any, Any], form: str, subtype: str, rate: int = 16_000) -> bytes:
    """values: of shape (frames,) or (frames, channels); full scale is 1 for floats."""
    file = io.BytesIO()
    soundfile.write(file, values, rate, format=form, subtype=subtype)
    return file.getvalue()


def noise(frames: int = 4_000, channels: int = 1, seed: int = 0) -> np.ndarray[Any, np.dtype[np.int16]]:
    return np.random.default_rng(seed).integers(-20_000, 20_000, (frames, channels)).astype(np.int16)


def png(width: int, depth: int, colour: int, row: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of one row, with further chunks before its pixels, for what Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, 1, depth, colour, 0, 0, 0)
    rows = (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in ((b"IHDR", header), *chunks, *rows))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def samples_of_all_formats() -> dict[str, bytes]:
    """Small files of every format and of the kinds of it that differ for a decoder."""
    shown = PIL.Image.open(io.BytesIO(picture(64, 48)))
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    clear = shown.convert("RGBA")
    clear.putalpha(128)
    heard, _ = soundfile.read(io.BytesIO(sound(0.5)))
    return {
        "png": encoded(shown, "PNG", exif=turned),
        "palette png": encoded(shown.convert("P"), "PNG", transparency=3),
        "16 bit png": png(4, 16, 0, bytes(range(8)), (b"tRNS", b"\0\1")),
        "animated png": encoded(shown, "PNG", save_all=True, append_images=[shown.rotate(90)]),
        "jpeg": encoded(shown, "JPEG", exif=turned, comment=b"drawn"),
        "progressive jpeg": encoded(shown, "JPEG", progressive=True),
        "cmyk jpeg": encoded(shown.convert("CMYK"), "JPEG"),
        "webp": encoded(shown, "WEBP", exif=turned),
        "lossless webp": encoded(clear, "WEBP", lossless=True),
        "animated webp": encoded(shown, "WEBP", save_all=True, append_images=[shown.rotate(90)]),
        "wav": recorded(heard, "WAV", "PCM_16"),
        "float wav": recorded(heard, "WAV", "FLOAT"),
        "adpcm wav": recorded(heard, "WAV", "IMA_ADPCM"),
        "extensible wav": recorded(heard, "WAVEX", "PCM_24"),
        "flac": recorded(heard, "FLAC", "PCM_16"),
        "24 bit flac": recorded(np.stack([heard, -heard / 3], 1), "FLAC", "PCM_24"),
        "vorbis": recorded(heard, "OGG", "VORBIS"),
        "opus": recorded(heard, "OGG", "OPUS"),
        "mp3": recorded(heard, "MP3", "MPEG_LAYER_III"),
    }


def mutated(data: bytes, chance: random.Random) -> bytes:
    """One to four things changed that happen to files, or that somebody does to them."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        near = len(changed) if chance.random() < 0.5 else min(len(changed), 64)  # headers are where it hurts
        if not near:
            break
        place = chance.randrange(near)
        other = chance.randrange(len(changed))
        _one_change(changed, place, other, chance)
    return bytes(changed)


def _one_change(changed: bytearray, place: int, other: int, chance: random.Random) -> None:
    match chance.randrange(7):
        case 0:
            changed[place] ^= 1 << chance.randrange(8)
        case 1:
            changed[place] = chance.choice((0, 0xFF, chance.randrange(256)))
        case 2:
            changed[place : place + 4] = chance.choice(SIZES)
        case 3:
            del changed[max(place, other) :]
        case 4:
            del changed[place : place + chance.randint(1, 200)]
        case 5:
            changed[place:place] = changed[other : other + 200]
        case _:
            changed[place : place + 16] = chance.randbytes(16)


SIZES: Sequence[bytes] = [
    struct.pack(order + "I", size) for order in "<>" for size in (0, 1, 2**16, 2**31 - 1, 2**32 - 1)
]
