"""A file of JSON lines as a catalogue: a row for each thing that can be recommended.

A row that cannot be read refuses the whole file, before anything runs: a shop that silently lacks some of what it sells
would be worse. What a row says beside what is needed is kept.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from vllm_flow.core.catalogue import Catalogue, Offer
from vllm_flow.core.errors import SourceError, nearest, shown
from vllm_flow.core.json_text import decode
from vllm_flow.core.options import OptionProblem, at_least, not_empty
from vllm_flow.core.places import found
from vllm_flow.core.registry import stage
from vllm_flow.core.template import Template, written

TOLD = 8
"""So many faults of a file are told one by one; the others are counted."""
LONGEST = 200
"""In characters: what a title, or an id, may have. A model has to write it out."""
MOST_POPULAR = 1e300
"""So that the difference of any two is a number, too."""
UNWRITTEN = ("Cc", "Cs", "Zl", "Zp")
"""Categories of characters that no line has: control characters, halves of pairs, line and paragraph separators."""


@stage("source/catalogue", blocking=True)
@dataclass(frozen=True)
class JsonLines:
    """A file of JSON lines, a row for each thing that can be recommended: `id`, `title`, and what `text` names.

    A file that has changed is read anew in the next turn.
    """

    path: str
    roots: tuple[str, ...] = ()
    """Folders outside of the working directory in which it may lie."""
    text: Annotated[str, not_empty()] = "{title}: {text}"
    """What is searched, and read by a model, made of the row's columns. A list is written with commas."""
    popularity: str = "popularity"
    """The column that says how much each is liked by all, a number; rows may lack it."""
    max_items: Annotated[int, at_least(1)] = 200_000
    max_bytes: Annotated[int, at_least(1)] = 200_000_000
    """How long the file may be."""

    def problems(self) -> Iterator[OptionProblem]:
        try:
            template = Template.parse(self.text)
        except ValueError as error:
            yield OptionProblem(("text",), str(error))
            return
        if "title" not in template.columns:
            what = "it lacks {title}, which is what a model says when it recommends one. Write it in."
            yield OptionProblem(("text",), what)
            return
        try:
            self.run()
        except SourceError as error:
            yield from (OptionProblem(("path",), problem) for problem in str(error).splitlines())

    def foresee(self) -> Catalogue:
        return self.run()

    def run(self) -> Catalogue:
        path = found(self.path, self.roots)
        if not path.is_file():  # a pipe would be waited for
            what = "a folder" if path.is_dir() else "no file"
            raise SourceError(f"{self.path}: it is {what}. Name a file of JSON lines.")
        state = path.stat()
        if state.st_size > self.max_bytes:
            raise SourceError(f"{self.path}: it is longer than {self.max_bytes} bytes. Raise max_bytes.")
        return _catalogue(self, path, (state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=4)
def _catalogue(options: JsonLines, path: Path, _state: tuple[int, int]) -> Catalogue:
    """Raises SourceError, a line for each fault."""
    reading = _Reading(options, Path(options.path).name)
    try:
        with path.open("rb") as lines:
            offers = tuple(reading.offers(lines))
    except OSError as error:
        raise SourceError(f"{options.path}: it cannot be read ({error.strerror or error}). Look at it.") from None
    if reading.faults:
        more = f"{options.path}: {reading.faulty - TOLD} rows more are wrong. Mend these first."
        raise SourceError("\n".join((*reading.faults, *([more] if reading.faulty > TOLD else []))))
    if not offers:
        raise SourceError(f"{options.path}: there are no rows. Write one thing to a line, with `id` and `title`.")
    return Catalogue.of(offers)


@dataclass
class _Reading:
    """Of one file; a row that is wrong is told, and the others are read on."""

    options: JsonLines
    name: str
    faults: list[str] = field(default_factory=list)
    faulty: int = 0
    lines: dict[str, int] = field(default_factory=dict)
    """By id, the line that it stands in."""

    def __post_init__(self) -> None:
        self.template = Template.parse(self.options.text)

    def offers(self, lines: Iterator[bytes] | Any) -> Iterator[Offer]:
        for number, line in enumerate(lines, start=1):
            content = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not content.strip():
                continue
            try:
                yield self._offer(content, number)
            except ValueError as error:
                self.faulty += 1
                if self.faulty <= TOLD:
                    self.faults.append(f"{self.name}:{number}: {error}")

    def _offer(self, line: bytes, number: int) -> Offer:
        """Raises ValueError."""
        row = decode(_text(line))
        if not isinstance(row, dict):
            raise ValueError("it is no mapping. Write {…} with `id` and `title`.")
        offer = Offer(
            _id(_column(row, "id")), _name(_column(row, "title"), "title"), self._said(row), self._popular(row), row
        )
        if (before := self.lines.setdefault(offer.id, number)) != number:
            raise ValueError(f"id: '{offer.id}' is that of line {before}, too. Give each its own.")
        if len(self.lines) > self.options.max_items:
            raise SourceError(f"{self.options.path}: it has more than {self.options.max_items} rows. Raise max_items.")
        return offer

    def _said(self, row: dict[str, Any]) -> str:
        text = self.template.fill({name: _cell(_column(row, name), name) for name in self.template.columns})
        return _whole(text, "text").strip()

    def _popular(self, row: dict[str, Any]) -> float | None:
        value = row.get(self.options.popularity)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{self.options.popularity}: {shown(value)} is no number. Write one, or leave it out.")
        if abs(value) > MOST_POPULAR:
            raise ValueError(f"{self.options.popularity}: {shown(value)} is too large a number. Write a smaller one.")
        return float(value)


def _text(line: bytes) -> str:
    try:
        return line.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"the text is not UTF-8, at byte {error.start + 1}. Save it as UTF-8.") from None


def _column(row: dict[str, Any], name: str) -> Any:
    if name not in row:
        raise ValueError(f"there is no '{name}'.{nearest(name, row)} Write it, or null where nobody knows.")
    return row[name]


def _id(value: Any) -> str:
    """Whole numbers are taken as they are written."""
    return _name(str(value) if isinstance(value, int) and not isinstance(value, bool) else value, "id")


def _name(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name}: {shown(value)} is no text. Write one.")
    if any(unicodedata.category(one) in UNWRITTEN for one in value):
        raise ValueError(f"{name}: {shown(value)} has a line break, or what no text can hold. Remove it.")
    if len(value) > LONGEST:
        raise ValueError(f"{name}: it has more than {LONGEST} characters. Shorten it.")
    return value.strip()


def _cell(value: Any, name: str) -> str:
    return ", ".join(written(one, name) for one in value) if isinstance(value, list) else written(value, name)


def _whole(text: str, name: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{name}: it has half of a character in it. Write both halves.") from None
    return text
