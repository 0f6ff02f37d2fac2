"""The picture and the sound that come with the tests: the same each time, and what they say they are."""

from __future__ import annotations

import numpy as np

from vllm_flow.media import audio_from, image_from, pixels, samples
from vllm_flow.testing import picture, sound


def test_the_picture_has_three_shapes_and_a_line_of_text() -> None:
    shown = pixels(image_from(picture(), "picture.png"))
    assert shown.size == (320, 240)
    assert [shown.getpixel((x, 72)) for x in (53, 160, 266)] == [(198, 40, 40), (46, 125, 50), (21, 101, 192)]
    below = np.asarray(shown)[160:]
    assert 0.02 < (below < 100).all(axis=2).mean() < 0.2
    assert picture() == picture() != picture(text="CLOSED")


def test_the_sound_has_its_tones_one_after_the_other() -> None:
    audio = audio_from(sound(1.5, (300.0, 600.0, 900.0)), "sound.wav")
    assert (audio.sample_rate_hz, audio.seconds) == (16_000, 1.5)
    loudest = [np.abs(np.fft.rfft(part)).argmax() * 2 for part in np.split(samples(audio), 3)]
    assert np.allclose(loudest, [300, 600, 900], atol=4)
