"""A picture and a sound to try something with: drawn and computed when asked for, so nobody else's work is in them.

The letters are those of the font that Pillow carries (Aileron, CC0).
"""

from __future__ import annotations

import io
from itertools import pairwise

RED, GREEN, BLUE, INK = "#c62828", "#2e7d32", "#1565c0", "#111111"
DECAY_S = 0.15
LOUDNESS = 0.3


def picture(width: int = 320, height: int = 240, text: str = "OPEN AT NINE") -> bytes:
    """A PNG: a red disc, a green triangle and a blue square side by side, and a line of text below, on white."""
    from PIL import Image, ImageDraw, ImageFont

    drawn = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(drawn)
    third, edge = width / 3, min(width / 3, height / 2) * 0.8
    for place, colour in enumerate((RED, GREEN, BLUE)):
        left, top = third * (place + 0.5) - edge / 2, height * 0.3 - edge / 2
        box = (left, top, left + edge, top + edge)
        if colour == RED:
            pen.ellipse(box, fill=colour)
        elif colour == GREEN:
            pen.polygon(((left, top + edge), (left + edge, top + edge), (left + edge / 2, top)), fill=colour)
        else:
            pen.rectangle(box, fill=colour)
    font = ImageFont.load_default(height / 8)
    pen.text((width / 2, height * 0.8), text, fill=INK, font=font, anchor="mm")
    file = io.BytesIO()
    drawn.save(file, "PNG")
    return file.getvalue()


def sound(seconds: float = 2.0, hz: tuple[float, ...] = (440.0, 554.37, 659.26), sample_rate_hz: int = 16_000) -> bytes:
    """A WAV of 16 bits: tones struck one after the other, each as long as the others and dying away."""
    import numpy as np
    import soundfile

    ends = np.linspace(0, round(seconds * sample_rate_hz), len(hz) + 1).astype(int)
    times = [np.arange(end - start) / sample_rate_hz for start, end in pairwise(ends)]
    tones = [np.sin(2 * np.pi * one * time) * np.exp(-time / DECAY_S) for one, time in zip(hz, times, strict=True)]
    file = io.BytesIO()
    soundfile.write(file, LOUDNESS * np.concatenate(tones), sample_rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()
