"""Pictures drawn in a moment, as values, and describers that know some of them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from vllm_flow.core.describing import Line, NotDescribed, Tag
from vllm_flow.core.media import Audio, Image
from vllm_flow.media import image_from


def drawn(color: str = "white", source: str = "a.png", text: str = "", size: tuple[int, int] = (320, 96)) -> Image:
    picture = Pillow.new("RGB", size, color)
    if text:
        ImageDraw.Draw(picture).text((16, 24), text, fill="black", font=ImageFont.load_default(32))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return image_from(file.getvalue(), source)


def forgotten(image: Image) -> Image:
    """As a record knows it, whose content is gone."""
    return replace(image, data=None)


def sound(source: str = "a.wav") -> Audio:
    """Only what is known of one."""
    return Audio("b" * 64, 16_000, 16_000, source)


class Knowing:
    """A tagger and reader that knows pictures by their names, and counts how often it is asked."""

    def __init__(self, **known: Any) -> None:
        self.known: Mapping[str, Any] = known
        self.asked: list[str] = []
        self.tenants: list[str] = []

    def _of(self, image: Image, tenant: str) -> Any:
        self.asked.append(image.source)
        self.tenants.append(tenant)
        if image.data is None:
            raise NotDescribed("its content is not here any more")
        return self.known.get(image.source.partition(".")[0], ())

    def describe(self) -> Mapping[str, Any]:
        return {"knows": sorted(self.known)}

    def close(self) -> None: ...


class KnowingTagger(Knowing):
    async def tags(self, image: Image, *, tenant: str = "") -> tuple[Tag, ...]:
        return tuple(Tag(label, probability) for label, probability in self._of(image, tenant))


class KnowingReader(Knowing):
    async def read(self, image: Image, *, tenant: str = "") -> tuple[Line, ...]:
        return tuple(Line(text, (0.0, 0.0, 9.0, 9.0), confidence) for text, confidence in self._of(image, tenant))
