"""What can be set on readers of text in pictures. Their libraries are looked for when the configuration is checked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated

from vllm_flow.core.describing import PageReader
from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.registry import resource

INSTALL = "Install it: pip install 'vllm-flow[ocr]'."


@resource("ocr/rapidocr", shared=True)
@dataclass(frozen=True)
class Rapid:
    """Lines of text in pictures, in Latin and Chinese script among others, by RapidOCR in this process.

    Its models (PP-OCR, Apache-2.0) are in the package; nothing is fetched.
    """

    remembered: Annotated[int, at_least(0)] = 1_000
    """Of how many pictures it is remembered what was read: what has been read once is not read again."""

    def problems(self) -> Iterator[str]:
        for library in ("rapidocr", "onnxruntime"):
            if find_spec(library) is None:
                yield f"the package {library} is not installed. {INSTALL}"

    def open(self) -> PageReader:
        """Raises ModelError."""
        from vllm_flow.describers.rapid import RapidReader

        return RapidReader(self)


@resource("ocr/tesseract", shared=True)
@dataclass(frozen=True)
class Tesseract:
    """Lines of text in pictures, by the program tesseract, which many systems have a package of."""

    language: str = "eng"
    """As tesseract names it, such as deu or chi_sim; several with a plus between them."""
    timeout_s: Annotated[float, at_least(0.1)] = 60.0
    """How long one picture may take."""
    remembered: Annotated[int, at_least(0)] = 1_000
    """Of how many pictures it is remembered what was read: what has been read once is not read again."""

    def problems(self) -> Iterator[str | OptionProblem]:
        if find_spec("pytesseract") is None:
            yield f"the package pytesseract is not installed. {INSTALL}"
        if shutil.which("tesseract") is None:
            yield (
                "the program tesseract is not installed. Install it, such as with apt-get install tesseract-ocr, or "
                "take reader=rapidocr."
            )
        if not self.language or not all(part.replace("_", "").isalnum() for part in self.language.split("+")):
            what = f"'{self.language}' names no language. Write one as tesseract does, such as eng or eng+deu."
            yield OptionProblem(("language",), what)

    def open(self) -> PageReader:
        """Raises ModelError."""
        from vllm_flow.describers.tesseract import TesseractReader

        return TesseractReader(self)
