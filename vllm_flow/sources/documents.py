"""Documents: the text of one file, with what says where in it a passage stands: lines, or pages of a PDF."""

from __future__ import annotations

import codecs
import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vllm_flow.core.errors import SourceError

ENDINGS = (".md", ".txt", ".pdf")
PDF = ".pdf"
LIBRARY = "pypdf"
MISSING = 'a PDF needs pypdf, which is not installed. Run: pip install "vllm-flow[pdf]".'


@dataclass(frozen=True, slots=True)
class Part:
    """A text that is cut apart by itself: a whole text file, or a page."""

    text: str
    page: int | None = None
    """From 1; None where lines are counted."""

    def source(self, name: str, line: int) -> str:
        return f"{name}:{line}" if self.page is None else f"{name} p. {self.page}"


def can_read(path: Path) -> str:
    """What is in the way of reading a file of this ending, and what would be right; empty when nothing is."""
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        return f"files that end in '{kind}' are not read. Endings: {', '.join(ENDINGS)}."
    return MISSING if kind == PDF and find_spec(LIBRARY) is None else ""


def parts_of(path: Path, name: str, max_bytes: int) -> tuple[Part, ...]:
    """The text of a document. Raises SourceError, which begins with `name`."""
    if problem := can_read(path):
        raise SourceError(f"{name}: {problem}")
    try:
        if path.stat().st_size > max_bytes:
            raise SourceError(f"{name}: it is longer than {max_bytes} bytes. Shorten it, or raise max_bytes.")
        if path.suffix.lower() == PDF:
            return _pages(path, name)
        return (Part(_text(path.read_bytes(), name)),)
    except OSError as error:
        raise SourceError(f"{name}: it cannot be read ({error.strerror or error}). Look at the file.") from None


def _text(content: bytes, name: str) -> str:
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SourceError(f"{name}:{line}: the text is not UTF-8. Save it as UTF-8.") from None
    return text.replace("\r\n", "\n")


def _pages(path: Path, name: str) -> tuple[Part, ...]:
    from pypdf import PdfReader

    logging.getLogger(LIBRARY).setLevel(logging.CRITICAL)  # it tells of every flaw that it mends
    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise SourceError(f"{name}: it is encrypted. Save it without a password.")
        texts = [page.extract_text().strip() for page in reader.pages]
    except (SourceError, OSError):
        raise
    except Exception as error:  # pypdf raises whatever a malformed file makes it
        what = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(".")
        raise SourceError(f"{name}: it cannot be read as PDF ({what}). Save it anew, or as text.") from error
    if not any(texts):
        raise SourceError(f"{name}: there is no text in it, perhaps pictures of pages. Let a program read them first.")
    return tuple(Part(text, number) for number, text in enumerate(texts, start=1))
