"""RapidOCR, live: detection, direction and recognition of lines by ONNX models of the package itself."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy
from rapidocr import RapidOCR

from vllm_flow.core.describing import Box, Line
from vllm_flow.core.errors import ModelError, told
from vllm_flow.core.media import Image
from vllm_flow.describers.looking import Looking

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from vllm_flow.describers.readers import Rapid

WHERE = "reader: ocr/rapidocr"


class RapidReader:
    def __init__(self, options: Rapid) -> None:
        """Raises ModelError."""
        try:
            # Quiet, and with every line: which of them are clear enough is for the stage to say.
            self._engine: Any = RapidOCR(params={"Global.log_level": "critical", "Global.text_score": 0.0})
        except Exception as cause:  # it raises whatever a library below it raises
            raise ModelError(f"{WHERE}: it cannot be loaded: {told(cause).rstrip('.')}. Install it anew.") from cause
        self._looking = Looking("reader", self._read, options.remembered)

    async def read(self, image: Image, *, tenant: str = "") -> tuple[Line, ...]:
        return await self._looking(image, tenant)

    def describe(self) -> Mapping[str, Any]:
        return {"reader": "rapidocr", **{name: version(name) for name in ("rapidocr", "onnxruntime")}}

    def close(self) -> None:
        self._looking.close()

    def _read(self, picture: Picture) -> tuple[Line, ...]:
        found = self._engine(numpy.asarray(picture)[:, :, ::-1])  # it wants blue, green, red
        if found.boxes is None:
            return ()
        lines = zip(found.txts, found.boxes, found.scores, strict=True)
        return tuple(Line(text, _box(corners), float(score)) for text, corners, score in lines if text.strip())


def _box(corners: Any) -> Box:
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    return float(left), float(top), float(right), float(bottom)
