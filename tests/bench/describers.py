"""How well pictures are told in words: drawn text with known truth, and the sample pictures of scikit-image.

    python tests/bench/describers.py ocr rapidocr tesseract     # character error rates, by size, font, noise and blur
    python tests/bench/describers.py tags [imagenet]            # what is said of photographs

The sample pictures come with the package scikit-image (BSD-3-Clause; its skimage/data/README.txt names the source of
each): ten photographs say nothing of how good a tagger is in general, only that it is put to use rightly.
"""

from __future__ import annotations

import asyncio
import importlib.resources
import io
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFilter, ImageFont

sys.path.insert(0, str(Path(__file__).parent.parent.parent))

from tests.distance import distance
from vllm_flow.core.describing import PageReader
from vllm_flow.core.media import Image
from vllm_flow.describers import Classifier, Rapid, Tesseract
from vllm_flow.media import image_from

WORDS = (
    "lamp", "harbour", "yellow", "bicycle", "train", "winter", "garden", "pepper", "coffee", "museum", "candle", "silver",
    "river", "north", "morning", "bridge", "window", "ticket", "engine", "paper", "letter", "orange", "forest", "market",
    "school", "doctor", "kitchen", "island", "summer", "castle",
)  # fmt: skip
SIZES, NOISES, ANGLES = (12, 16, 24, 40), (0, 20, 40), (0, 3)
FONTS = ("default", "DejaVuSerif.ttf", "DejaVuSansMono.ttf")
"""Pillow's own, and two that matplotlib brings."""
READERS = {"rapidocr": Rapid, "tesseract": Tesseract}
RIGHT: dict[str, tuple[str, ...]] = {
    "chelsea.png": ("tabby", "tiger cat", "Egyptian cat"),
    "coffee.png": ("espresso", "cup", "coffee mug"),
    "rocket.jpg": ("missile", "projectile"),
    "motorcycle_left.png": ("moped", "motor scooter"),
    "motorcycle_right.png": ("moped", "motor scooter"),
    "camera.png": ("tripod", "reflex camera"),
    "astronaut.png": ("space shuttle",),
    "clock_motion.png": ("wall clock", "analog clock"),
    "brick.png": ("stone wall",),
    "horse.png": ("sorrel",),
}
"""Labels of ImageNet, which has no motorcycle, rocket or astronaut, that name the main thing that is shown."""


@dataclass(frozen=True)
class Case:
    size: int
    font: str
    noise: int
    angle: int
    lines: tuple[str, ...]


def cases(each: int, seed: int = 0) -> Iterator[Case]:
    draw = random.Random(seed)
    for size in SIZES:
        for font in FONTS:
            for noise in NOISES:
                for angle in ANGLES:
                    for _ in range(each):
                        lines = tuple(_line(draw) for _ in range(3))
                        yield Case(size, font, noise, angle, lines)


def _line(draw: random.Random) -> str:
    return f"{draw.choice(WORDS).capitalize()} {draw.choice(WORDS)} {draw.randint(10, 9999)}"


def drawn(case: Case) -> Image:
    font = _font(case.font, case.size)
    step = round(case.size * 1.6)
    width = max(round(font.getlength(line)) for line in case.lines) + 2 * case.size
    picture = Pillow.new("L", (width, step * 3 + case.size), 235)
    pen = ImageDraw.Draw(picture)
    for place, line in enumerate(case.lines):
        pen.text((case.size, case.size // 2 + place * step), line, fill=25, font=font)
    picture = picture.rotate(case.angle, Pillow.Resampling.BICUBIC, expand=True, fillcolor=235)
    if case.noise:
        grain = numpy.random.default_rng(case.size * 1000 + case.noise).normal(
            0, case.noise, (picture.height, picture.width)
        )
        picture = Pillow.fromarray((numpy.asarray(picture) + grain).clip(0, 255).astype("uint8"))
        picture = picture.filter(ImageFilter.GaussianBlur(0.5))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return image_from(file.getvalue(), "drawn.png")


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    if name == "default":
        found = ImageFont.load_default(size)
        assert isinstance(found, ImageFont.FreeTypeFont)
        return found
    folder = importlib.resources.files("matplotlib") / "mpl-data" / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / name), size)


def squeezed(text: str) -> str:
    return " ".join(text.split())


def errors_in(reader: PageReader, case: Case) -> tuple[int, int, float]:
    """Wrong characters, of how many, and the seconds that it took."""
    image, truth = drawn(case), squeezed(" ".join(case.lines))
    begun = time.perf_counter()
    lines = asyncio.run(reader.read(image))
    seconds = time.perf_counter() - begun
    return (
        distance(squeezed(" ".join(line.text for line in lines if line.confidence > 0.5)), truth),
        len(truth),
        seconds,
    )


def read_all(name: str, each: int) -> None:
    reader = READERS[name]().open()
    wrong, length, exact, seconds = defaultdict[str, int](int), defaultdict[str, int](int), 0, 0.0
    there = list(cases(each))
    for case in there:
        errors, characters, took = errors_in(reader, case)
        seconds += took
        exact += errors == 0
        for group in ("all", f"{case.size} px", case.font, f"noise {case.noise}", f"{case.angle} degrees"):
            wrong[group] += errors
            length[group] += characters
    reader.close()
    print(f"{name}: {len(there)} pictures, {exact / len(there):.1%} without a fault, {seconds / len(there):.2f} s each")
    for group, count in wrong.items():
        print(f"  character errors, {group}: {count / length[group]:.1%}")


def tag_all(package: str) -> None:
    tagger = Classifier(package=package).open()
    folder = importlib.resources.files("skimage") / "data"
    first = among = 0
    for name, right in RIGHT.items():
        image = image_from((folder / name).read_bytes(), name)
        labels = [(tag.label, tag.probability) for tag in asyncio.run(tagger.tags(image))[:5]]
        first += labels[0][0] in right
        among += any(label in right for label, _ in labels)
        print(f"  {name}: " + ", ".join(f"{label} {probability:.0%}" for label, probability in labels))
    tagger.close()
    print(f"{package}: right first {first} of {len(RIGHT)}, among five {among} of {len(RIGHT)}")


def main(words: list[str]) -> int:
    match words:
        case ["ocr", *names] if names and set(names) <= set(READERS):
            for name in names:
                read_all(name, each=2)
        case ["tags", *names]:
            tag_all(names[0] if names else "imagenet")
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
