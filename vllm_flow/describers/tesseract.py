"""Tesseract, live: a process for each picture; its words are put together to the lines that it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from statistics import fmean
from typing import TYPE_CHECKING, Any

import pytesseract

from vllm_flow.core.describing import Line, NotDescribed
from vllm_flow.core.errors import ModelError, told
from vllm_flow.core.media import Image
from vllm_flow.describers.looking import Looking

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from vllm_flow.describers.readers import Tesseract

PLACE = ("block_num", "par_num", "line_num")
BOX = ("left", "top", "width", "height")


class TesseractReader:
    def __init__(self, options: Tesseract) -> None:
        """Raises ModelError."""
        self._options = options
        try:
            self._version = str(pytesseract.get_tesseract_version())
            there = pytesseract.get_languages()
        except Exception as cause:  # it is a program of its own, and may say anything
            raise ModelError(
                f"reader: ocr/tesseract: it does not run: {told(cause).rstrip('.')}. Install it anew."
            ) from cause
        for one in options.language.split("+"):
            if one not in there:
                what = f"tesseract knows no '{one}'. Install its data, such as with apt-get install tesseract-ocr-{one}"
                raise ModelError(f"reader.language: {what}, or take one of: {', '.join(sorted(there))}.")
        self._looking = Looking("reader", self._read, options.remembered)

    async def read(self, image: Image, *, tenant: str = "") -> tuple[Line, ...]:
        return await self._looking(image, tenant)

    def describe(self) -> Mapping[str, Any]:
        return {"reader": "tesseract", "tesseract": self._version, "language": self._options.language}

    def close(self) -> None:
        self._looking.close()

    def _read(self, picture: Picture) -> tuple[Line, ...]:
        try:
            table: dict[str, list[Any]] = pytesseract.image_to_data(
                picture,
                lang=self._options.language,
                timeout=self._options.timeout_s,
                output_type=pytesseract.Output.DICT,
            )
        except (RuntimeError, pytesseract.TesseractError) as cause:  # it took too long, or gave up
            raise NotDescribed(f"tesseract gave up: {told(cause).rstrip('.')}") from cause
        return tuple(_lines(table))


def _lines(table: Mapping[str, list[Any]]) -> Iterator[Line]:
    """Of its words; what has no confidence is no word."""
    words = [place for place, said in enumerate(table["text"]) if said.strip() and float(table["conf"][place]) >= 0]
    for _, group in groupby(words, key=lambda place: [table[name][place] for name in PLACE]):
        line = list(group)
        boxes = [[float(table[name][place]) for name in BOX] for place in line]
        right, bottom = (
            max(left + width for left, _, width, _ in boxes),
            max(top + height for _, top, _, height in boxes),
        )
        box = (min(one[0] for one in boxes), min(one[1] for one in boxes), right, bottom)
        confidence = fmean(float(table["conf"][place]) for place in line) / 100
        yield Line(" ".join(table["text"][place] for place in line), box, confidence)
