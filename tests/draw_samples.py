"""Draws the pictures of the sample inputs anew: `python tests/draw_samples.py`. What is drawn is this project's own."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

PIPELINES = Path(__file__).parents[1] / "pipelines"
SIGNS = {
    "caption/sign.png": ("#1f4e3d", "white", ("The Corner Bakery", "Open 7:00 to 18:30", "Closed on Mondays")),
    "caption/ticket.png": ("#f4efe1", "#222222", ("Train 417 to Bergen", "Platform 6", "Departs 14:05")),
    "guide/label.png": ("white", "black", ("Astrolabe", "Brass, 1650", "Room 4")),
    "guide/clock.png": ("#e8e2d0", "#3a2a1a", ("Water clock", "Copper, 1720", "Room 2")),
}
"""Ground, writing, and its lines."""


def draw(ground: str, color: str, lines: tuple[str, ...]) -> Image.Image:
    picture = Image.new("RGB", (480, 40 + 56 * len(lines)), ground)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((8, 8, picture.width - 9, picture.height - 9), outline=color, width=3)
    for place, line in enumerate(lines):
        pen.text((32, 24 + 56 * place), line, fill=color, font=ImageFont.load_default(36 if place == 0 else 30))
    return picture


if __name__ == "__main__":
    for name, sign in SIGNS.items():
        draw(*sign).quantize(16).save(PIPELINES / name, optimize=True)
