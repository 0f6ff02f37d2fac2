"""Sounds: from the bytes of a file to one channel at its own rate, and back from the value to samples.

A sample is a whole number of 24 bits, the mean of all channels: it holds sounds of 16 and 24 bits exactly. What
goes beyond full scale is held there, as in a player, since decoders of lossy formats overshoot a little.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any

from vllm_flow.core.errors import MediaError
from vllm_flow.core.media import Audio
from vllm_flow.media.decoding import BLOCK_SAMPLES, decoded
from vllm_flow.media.formats import expect
from vllm_flow.media.limits import DEFAULT, Limits, check_bytes, named, reason

if TYPE_CHECKING:
    import numpy as np

FULL_SCALE = 2**23
LOUDEST = 2.0
"""The most that is taken for an overshoot, in full scales. Beyond, the samples are on another scale."""
TOP_16_OF_24 = 8


def audio_from(data: bytes, source: str, limits: Limits = DEFAULT) -> Audio:
    """A sound from the bytes of a WAV, FLAC, OGG or MP3 file, told by its content. source: its name, for people.

    Equal samples at an equal rate have equal digests, whatever lossless file they come from. Raises MediaError.
    """
    where = named(source, "audio")
    check_bytes(len(data), where, limits)
    found = expect(data, "audio", where)
    rate, blocks = decoded(data, found, where, limits)
    whole = _joined([_whole_numbers(block, where) for block in blocks])
    if not whole.size:
        raise MediaError(f"{where}: it has no samples. Give a sound that has some.")
    digest = hashlib.sha256(f"mono {rate} {whole.size}\n".encode("ascii"))
    digest.update(whole.astype("<i4", copy=False).data)
    return Audio(digest.hexdigest(), rate, whole.size, source, _encoded(whole, rate))


def samples(audio: Audio, sample_rate_hz: int | None = None) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Its samples, float32 of shape (frames,) in -1 to 1, at its own rate or resampled (soxr's high quality).

    Raises MediaError when only its name is known.
    """
    import soundfile
    import soxr

    where = named(audio.source, "audio")
    if audio.data is None:
        raise MediaError(f"{where}: only the digest of this sound is known here. Give the sound again.")
    try:
        found, rate = soundfile.read(io.BytesIO(audio.data), dtype="float32")
    except soundfile.LibsndfileError as error:
        raise MediaError(f"{where}: its content is damaged{reason(error)}. Give the sound again.") from None
    if sample_rate_hz is None or sample_rate_hz == rate:
        return found  # type: ignore[no-any-return]
    return soxr.resample(found, rate, sample_rate_hz, quality="HQ")  # type: ignore[no-any-return]


def _whole_numbers(block: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, np.dtype[np.int32]]:
    """From (frames, channels) to (frames,)."""
    import numpy as np

    mono = block.mean(axis=1)
    if not np.isfinite(mono).all():
        raise MediaError(f"{where}: it has samples that are no numbers (NaN or infinite). Write it anew without them.")
    if (peak := float(np.abs(mono).max(initial=0.0))) > LOUDEST:
        what = f"its samples go up to {peak:,.1f}, where full scale is 1"
        raise MediaError(f"{where}: {what}. Scale them to -1 to 1, or write whole numbers.")
    whole: np.ndarray[Any, Any] = np.clip(np.rint(mono * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    return whole.astype(np.int32)


def _joined(blocks: list[np.ndarray[Any, np.dtype[np.int32]]]) -> np.ndarray[Any, np.dtype[np.int32]]:
    """One after the other; each block is let go when it is copied."""
    import numpy as np

    whole, place = np.empty(sum(block.size for block in blocks), np.int32), 0
    blocks.reverse()
    while blocks:
        block = blocks.pop()
        whole[place : place + block.size] = block
        place += block.size
    return whole


def _encoded(whole: np.ndarray[Any, np.dtype[np.int32]], rate: int) -> bytes:
    """FLAC of 16 bits where that loses nothing, else of 24."""
    import soundfile

    subtype = "PCM_24" if (whole & (2**TOP_16_OF_24 - 1)).any() else "PCM_16"
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, subtype, format="FLAC") as writer:
        for start in range(0, whole.size, BLOCK_SAMPLES):
            writer.write(whole[start : start + BLOCK_SAMPLES] << TOP_16_OF_24)
    return file.getvalue()
