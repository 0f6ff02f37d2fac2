"""Recordings at the gate: what is equal, what becomes of channels, widths and rates, and what is refused, in words."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from tests.media.making import noise, recorded
from vllm_flow.media import Limits, MediaError, audio_from, decoding, samples
from vllm_flow.media.apart import Apart
from vllm_flow.testing.media import picture, sound

MONO, STEREO = noise(), noise(channels=2)
LOSSLESS = [
    ("WAV", "PCM_16"),
    ("WAV", "PCM_24"),
    ("WAV", "PCM_32"),
    ("WAVEX", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
]


@pytest.mark.parametrize("values", [MONO, STEREO, noise(channels=5)])
def test_equal_samples_are_equal_whatever_lossless_file_they_come_from(values: np.ndarray) -> None:
    files = [recorded(values, *how) for how in LOSSLESS] + [recorded(values / 2.0**15, "WAV", "FLOAT")]
    sounds = [audio_from(data, f"{number}") for number, data in enumerate(files)]
    assert len(set(sounds)) == len({one.digest for one in sounds}) == len({one.data for one in sounds}) == 1
    assert (sounds[0].sample_rate_hz, sounds[0].frames, sounds[0].source) == (16_000, 4_000, "0")


def test_channels_are_mixed_to_their_mean_and_a_sample_is_kept_to_24_bits() -> None:
    found = samples(audio_from(recorded(STEREO, "WAV", "PCM_16"), "x"))
    assert (found.shape, found.dtype) == ((4_000,), np.float32)
    assert np.array_equal(found, STEREO.mean(axis=1) / 2**15)
    fine = np.array([[1], [-(2**23)], [2**23 - 1]], np.int32) << 8
    assert (samples(audio_from(recorded(fine, "WAV", "PCM_24"), "x")) * 2**23).tolist() == [1, -(2**23), 2**23 - 1]


@pytest.mark.parametrize(
    ("values", "subtype"), [(MONO, "PCM_16"), (np.hstack([MONO, MONO]), "PCM_16"), (STEREO, "PCM_24")]
)
def test_it_is_carried_as_flac_as_wide_as_it_has_to_be(values: np.ndarray, subtype: str) -> None:
    audio = audio_from(recorded(values, "WAV", "PCM_24"), "x")
    assert audio.data is not None
    with soundfile.SoundFile(io.BytesIO(audio.data)) as file:
        assert (file.format, file.subtype, file.channels, file.samplerate) == ("FLAC", subtype, 1, 16_000)
    assert audio_from(audio.data, "x") == audio


def test_the_digest_is_over_rate_and_samples() -> None:
    slow, fast = (audio_from(recorded(MONO, "WAV", "PCM_16", rate), "x") for rate in (8_000, 16_000))
    longer = audio_from(recorded(noise(4_001), "WAV", "PCM_16"), "x")
    assert len({slow, fast, longer}) == 3
    assert (
        audio_from(recorded(np.array([1, -2], np.int16), "WAV", "PCM_16"), "x").digest
        == "d811a2dcb5847b86a0bd888b5d2bee2ea738725ed9782b5d2edff7cbedda21dd"
    )


@pytest.mark.parametrize(("form", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")])
def test_lossy_files_give_what_their_decoder_gives_read_at_once(
    form: str, subtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tones, whose frames refer to earlier ones; noise would not show it. MP3 comes in blocks of 65,536 anyway."""
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 3_000)
    heard, _ = soundfile.read(io.BytesIO(sound(6.0, tuple(range(200, 900, 50)))))
    data = recorded(np.stack([heard, heard / 2], 1), form, subtype)
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        whole, rate = file.read(always_2d=True), file.samplerate
    audio = audio_from(data, "x")
    assert (audio.sample_rate_hz, audio.frames) == (rate, len(whole)) == (16_000, 96_000)
    assert np.array_equal(samples(audio), (np.rint(whole.mean(axis=1) * 2**23) / 2**23).astype(np.float32))


def test_samples_come_at_the_rate_that_is_asked_for() -> None:
    times = np.arange(48_000) / 48_000
    audio = audio_from(recorded(0.5 * np.sin(2 * np.pi * 440 * times), "WAV", "PCM_24", 48_000), "x")
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    found = samples(audio, 16_000)
    assert (found.shape, found.dtype) == ((16_000,), np.float32)
    assert np.abs(found - expected)[100:-100].max() < 1e-4
    assert np.array_equal(samples(audio, 48_000), samples(audio))


@pytest.mark.parametrize(
    ("rate", "wanted", "frames"), [(2, 8_000, 16_000_000), (655_350, 8_000, 49), (65_535, 16_000, 977)]
)
def test_rates_that_are_far_apart_are_resampled_too(rate: int, wanted: int, frames: int) -> None:
    assert len(samples(audio_from(recorded(MONO, "WAV", "PCM_16", rate), "x"), wanted)) == frames


def test_a_little_over_full_scale_is_held_there() -> None:
    found = samples(audio_from(recorded(np.array([1.5, -1.5, 0.5]), "WAV", "FLOAT"), "x"))
    assert found.tolist() == [1 - 2**-23, -1, 0.5]


@pytest.mark.parametrize("rate", [2, 8_000, 65_535, 96_000, 655_350])
def test_every_rate_that_can_be_carried_is(rate: int) -> None:
    audio = audio_from(recorded(MONO, "WAV", "PCM_16", rate), "x")
    assert (audio.sample_rate_hz, len(samples(audio))) == (rate, 4_000)


def unsaid(size: int) -> bytes:
    """As a program writes it that does not know the length, since it writes to a pipe."""
    data = bytearray(recorded(MONO, "WAV", "PCM_16"))
    place = data.index(b"data") + 4
    data[place : place + 4] = size.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("size", [0x7FFF_F000, 0xFFFF_FFFF])
def test_a_wav_whose_header_does_not_tell_its_length_is_read_to_its_end(size: int) -> None:
    assert audio_from(unsaid(size), "x") == audio_from(recorded(MONO, "WAV", "PCM_16"), "x")


FLAC = recorded(MONO, "FLAC", "PCM_16")
VORBIS = recorded(MONO / 2.0**15, "OGG", "VORBIS")
MP3 = recorded(noise(40_000) / 2.0**15, "MP3", "MPEG_LAYER_III")
HOUR = Limits(max_seconds=0.2)
SMALL = Limits(max_decoded_bytes=8_000)
ANEW = "Save it anew, whole, as a FLAC."


@pytest.mark.parametrize(
    ("data", "limits", "problem"),
    [
        (b"", Limits(), "it is empty. Give an image or a sound."),
        (
            b"FORM\0\0\0\0AIFF",
            Limits(),
            "it is not a sound (WAV, FLAC, OGG, MP3). Convert it, or give a sound (WAV, FLAC, OGG, MP3).",
        ),
        (picture(), Limits(), "it is an image (PNG). Give a sound (WAV, FLAC, OGG, MP3)."),
        (
            recorded(MONO, "WAV", "PCM_16")[:-99],
            Limits(),
            "it is cut off: its last 99 bytes are missing. Give the whole file.",
        ),
        (VORBIS[:-99], Limits(), "it is cut off: its last 99 bytes are missing. Give the whole file."),
        (FLAC[:-99], Limits(), f"it cannot be decoded as FLAC (flac decoder lost sync). {ANEW}"),
        (
            MP3[:-2000],
            Limits(),
            "it is cut off or damaged: 2.0 of its 2.5 seconds can be decoded. Give it whole, or save it anew.",
        ),
        (b"\xff\xfb" + bytes(3000), Limits(), f"it cannot be decoded as MP3 (there is no such frame in it). {ANEW}"),
        (
            b"ID3\3\0\0\0\0\0\x0a" + bytes(10) + FLAC,
            Limits(),
            "it begins like MP3 and is FLAC. Save it anew, as a FLAC.",
        ),
        (
            recorded(np.array([0, np.nan]), "WAV", "FLOAT"),
            Limits(),
            "it has samples that are no numbers (NaN or infinite). Write it anew without them.",
        ),
        (
            recorded(np.array([0, -np.inf]), "WAV", "FLOAT"),
            Limits(),
            "it has samples that are no numbers (NaN or infinite). Write it anew without them.",
        ),
        (
            recorded(np.array([0, -32768.0]), "WAV", "FLOAT"),
            Limits(),
            "its samples go up to 32,768.0, where full scale is 1. Scale them to -1 to 1, or write whole numbers.",
        ),
        (recorded(np.zeros(0), "WAV", "PCM_16"), Limits(), "it has no samples. Give a sound that has some."),
        (
            recorded(MONO, "WAV", "PCM_16", 655_360),
            Limits(),
            "it has 655,360 samples a second. Resample it to 16,000 or 48,000.",
        ),
        (
            recorded(MONO, "WAV", "PCM_16", 65_537),
            Limits(),
            "it has 65,537 samples a second. Resample it to 16,000 or 48,000.",
        ),
        (FLAC, HOUR, "it is longer than 0.2 seconds. Cut it into parts, or raise max_seconds."),
        (MP3, HOUR, "it is longer than 0.2 seconds. Cut it into parts, or raise max_seconds."),
        (
            recorded(STEREO, "FLAC", "PCM_16"),
            SMALL,
            "decoded it takes more than 0.008 MB. Give it with fewer channels or at a lower rate, cut it into parts, "
            "or raise max_decoded_bytes.",
        ),
        (
            FLAC,
            Limits(max_bytes=9),
            f"it has {len(FLAC):,} bytes, and at most 9 are read. Make it smaller, or raise max_bytes.",
        ),
    ],
    # Of bytes the name would have them, and libsndfile writes the time of day into a float WAV: no two workers are alike.
    ids=lambda given: "bytes" if isinstance(given, bytes) else None,
)
def test_what_cannot_be_read_is_refused_in_one_line(data: bytes, limits: Limits, problem: str) -> None:
    with pytest.raises(MediaError) as told:
        audio_from(data, "x", limits)
    assert str(told.value) == f"x: {problem}"


def test_limits_hold_where_the_header_tells_too_little() -> None:
    """A FLAC whose number of samples is 0: unknown."""
    data = bytearray(FLAC)
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    assert audio_from(bytes(data), "x") == audio_from(FLAC, "x")
    for limits, problem in ((HOUR, "longer than 0.2 seconds"), (SMALL, "more than 0.008 MB")):
        with pytest.raises(MediaError, match=problem):
            audio_from(bytes(data), "x", limits)


def test_an_mp3_that_is_not_read_to_its_end_leaves_no_process() -> None:
    apart = Apart(recorded(noise(400_000) / 2.0**15, "MP3", "MPEG_LAYER_III"))
    assert len(apart.read(10, "float32")) == 10
    apart.close()
    assert apart._process.returncode is not None


def test_the_decoder_of_mp3_says_nothing_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    damaged = bytearray(MP3)
    damaged[len(MP3) // 2 : len(MP3) // 2 + 400] = bytes(400)
    soundfile.read(io.BytesIO(bytes(damaged)))
    assert "Trying to resync" in capfd.readouterr().err
    with pytest.raises(MediaError, match=r"2\.4 of its 2\.5 seconds"):
        audio_from(bytes(damaged), "x")
    assert capfd.readouterr() == ("", "")


def test_a_recording_that_is_only_known_by_its_digest_has_no_samples_and_a_damaged_one_none() -> None:
    audio = audio_from(sound(), "x.wav")
    assert audio.seconds == 2
    with pytest.raises(MediaError) as told:
        samples(replace(audio, data=None))
    assert str(told.value) == "x.wav: only the digest of this sound is known here. Give the sound again."
    with pytest.raises(MediaError) as told:
        samples(replace(audio, data=b"nothing that is known"))
    assert str(told.value) == "x.wav: its content is damaged (Format not recognised). Give the sound again."
