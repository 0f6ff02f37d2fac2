"""Decoding of sounds, block by block, within the limits: by the header before the first block, and by what comes,
since a header need not tell the truth.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vllm_flow.core.errors import MediaError
from vllm_flow.media.apart import Apart
from vllm_flow.media.cut_off import cut_off
from vllm_flow.media.formats import Format
from vllm_flow.media.limits import MB, Limits, reason

if TYPE_CHECKING:
    import numpy as np

    from vllm_flow.media.forwards import Forwards

BLOCK_SAMPLES = 2**18
"""How many samples of all channels are decoded at a time."""
MOST_RATE_HZ, MOST_TENS_HZ = 65_535, 655_350
"""FLAC has any rate up to the first, and those in tens up to the second (RFC 9639, section 9.1.2)."""
UNKNOWN_FRAMES = 2**62
"""From here on a count of frames means that the header has none."""
WITHIN = {"WAV": ("WAV", "WAVEX"), "FLAC": ("FLAC",), "OGG": ("OGG",), "MP3": ("MP3",)}
"""What the decoder is to find, after tags that it skips."""


def decoded(data: bytes, found: Format, where: str, limits: Limits) -> tuple[int, Iterator[np.ndarray[Any, Any]]]:
    """Its rate in Hz, and blocks of shape (frames, channels), floats with full scale 1. Both raise MediaError."""
    import soundfile

    from vllm_flow.media.forwards import Forwards

    try:
        opened = Apart(data) if found == "MP3" else Forwards(io.BytesIO(data))
    except (soundfile.LibsndfileError, ValueError, OverflowError) as error:
        raise _unreadable(where, found, reason(error)) from None
    problem = _too_much(opened, limits, _told_frames(opened))
    if opened.format not in WITHIN[found]:
        problem = f"it begins like {found} and is {opened.format}. Save it anew, as a FLAC."
    elif not (0 < (rate := opened.samplerate) <= MOST_RATE_HZ or (rate <= MOST_TENS_HZ and rate % 10 == 0)):
        problem = f"it has {rate:,} samples a second. Resample it to 16,000 or 48,000."
    elif missing := cut_off(data, found):
        problem = f"it is cut off: its last {missing:,} bytes are missing. Give the whole file."
    if problem:
        opened.close()
        raise MediaError(f"{where}: {problem}")
    return opened.samplerate, _blocks(opened, found, where, limits)


def _blocks(opened: Forwards | Apart, found: Format, where: str, limits: Limits) -> Iterator[np.ndarray[Any, Any]]:
    import soundfile

    step, done = max(1, BLOCK_SAMPLES // opened.channels), 0
    with opened:
        while True:
            try:
                block = opened.read(step, dtype="float64", always_2d=True)
            except (soundfile.LibsndfileError, ValueError, OverflowError) as error:
                raise _unreadable(where, found, reason(error)) from None
            if not len(block):
                break
            done += len(block)
            if problem := _too_much(opened, limits, done):
                raise MediaError(f"{where}: {problem}")
            yield block
    if done < (told := _told_frames(opened)):
        seconds = f"{done / opened.samplerate:,.1f} of its {told / opened.samplerate:,.1f} seconds"
        raise MediaError(
            f"{where}: it is cut off or damaged: {seconds} can be decoded. Give it whole, or save it anew."
        )


def _told_frames(opened: Forwards | Apart) -> int:
    """By the header; 0 where it does not tell."""
    return opened.frames if opened.frames < UNKNOWN_FRAMES else 0


def _too_much(opened: Forwards | Apart, limits: Limits, frames: int) -> str:
    if frames > limits.max_seconds * opened.samplerate:
        return f"it is longer than {limits.max_seconds:,g} seconds. Cut it into parts, or raise max_seconds."
    if frames * opened.channels * 4 > limits.max_decoded_bytes:
        what = f"decoded it takes more than {limits.max_decoded_bytes / MB:,g} MB"
        return f"{what}. Give it with fewer channels or at a lower rate, cut it into parts, or raise max_decoded_bytes."
    return ""


def _unreadable(where: str, found: Format, why: str) -> MediaError:
    return MediaError(f"{where}: it cannot be decoded as {found}{why}. Save it anew, whole, as a FLAC.")
