"""The packaged Whisper on real speech: as many words right as transformers has, in short and in long recordings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy
import pytest

from tests.transcribers.peer import Peer
from tests.transcribers.spoken import NotHere, Recorded, concatenated, errors, recordings, words
from tests.transcribers.tiny import RATE_HZ, recording
from vllm_flow.core.transcripts import Transcript
from vllm_flow.media import audio_from
from vllm_flow.transcribers import Whisper

UNGUARDED = {"compression_ratio_threshold": None, "logprob_threshold": None}
SAMPLE = Path(__file__).parents[2] / "pipelines" / "transcribe" / "sense_and_sensibility.ogg"


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> list[Recorded]:
    try:
        return recordings(tmp_path_factory.mktemp("spoken"))
    except NotHere as reason:
        pytest.skip(f"the recordings cannot be had: {reason}")


def transcribed(given: list[Recorded], **how: None) -> list[Transcript]:
    transcriber = Whisper(package="whisper-tiny.en", **how).open()

    async def all_of_them() -> list[Transcript]:
        sounds = [recording(one.samples, one.name) for one in given]
        return await asyncio.gather(*(transcriber.transcribe(one) for one in sounds))

    try:
        return asyncio.run(all_of_them())
    finally:
        transcriber.close()


def wrong(given: list[Recorded], texts: list[str]) -> float:
    """Word error rate, in percent."""
    total = sum(len(words(one.text)) for one in given)
    return 100 * sum(errors(one.text, text) for one, text in zip(given, texts, strict=True)) / total


def test_the_shipped_recording_is_written_down(whisper: Path) -> None:
    transcriber = Whisper(path=str(whisper)).open()
    found = asyncio.run(transcriber.transcribe(audio_from(SAMPLE.read_bytes(), SAMPLE.name)))
    transcriber.close()
    assert found.text == (
        "And Mr. John Dashwood had then leisure to consider how much there might be prudently in his power to do for "
        "them. He might even have been made amiable himself."
    )


def test_nobody_speaks_in_silence_noise_and_hum(whisper: Path) -> None:
    chance, times = numpy.random.default_rng(0), numpy.arange(5 * RATE_HZ) / RATE_HZ
    sounds = (
        numpy.zeros_like(times), chance.standard_normal(len(times)) * 0.001, chance.standard_normal(len(times)) * 0.1,
        0.05 * numpy.sin(2 * numpy.pi * 50 * times),
    )  # fmt: skip
    given = [Recorded(str(place), one.astype("float32"), "") for place, one in enumerate(sounds)]
    assert [one.text for one in transcribed(given)] == ["", "", "", ""]


@pytest.mark.full
def test_a_hum_of_which_the_model_makes_the_same_words_again_and_again_is_one_no_more(whisper: Path) -> None:
    times = numpy.arange(20 * RATE_HZ) / RATE_HZ
    hum = (0.2 * (times * 130 % 1 - 0.5) * (0.5 + 0.5 * numpy.sin(2 * numpy.pi * 3 * times))).astype("float32")
    (greedy,), (found,) = (transcribed([Recorded("hum", hum, "")], **how) for how in (UNGUARDED, {}))
    print(f"greedy: {greedy.text[:60]} …\nguarded: {found.text[:60]} {found.doubts}")
    assert "BAM BAM BAM BAM" in greedy.text
    assert "BAM BAM BAM BAM" not in found.text


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_real_speech_has_the_word_error_rate_of_transformers(real: list[Recorded], whisper: Path) -> None:
    peer = Peer(whisper)
    ours = wrong(real, [one.text for one in transcribed(real)])
    theirs = wrong(real, [peer.written(one.samples) for one in real])
    print(f"{sum(one.seconds for one in real):.0f} s: {ours:.2f} % wrong, transformers {theirs:.2f} %")
    assert abs(ours - theirs) <= 0.1


@pytest.mark.full
@pytest.mark.timeout(2400)
def test_long_recordings_are_written_down_as_well_as_by_transformers(real: list[Recorded], whisper: Path) -> None:
    peer = Peer(whisper)
    long = [concatenated(real, 100, seed, (0.5, 2.0) if seed % 2 else (0.1, 0.4)) for seed in range(18)]
    ours = wrong(long, [one.text for one in transcribed(long)])
    theirs = wrong(long, [peer.written(one.samples) for one in long])
    print(f"{sum(one.seconds for one in long):.0f} s: {ours:.2f} % wrong, transformers {theirs:.2f} %")
    assert ours <= theirs
