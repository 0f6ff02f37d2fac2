"""Chunks: a text cut at the borders of its paragraphs into passages of a bounded length, which overlap.

A passage is a slice of the text, so that it can be found again; only a paragraph that is too long by itself is cut
inside, at a line's end, else a sentence's, else a word's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

PARAGRAPH = re.compile(r"\S.*?(?=\s*\Z|[ \t]*\n[ \t]*\n|[ \t]*\n#{1,6} )", re.DOTALL)
HEADING = re.compile(r"#{1,6} [^\n]*")
BORDERS = (re.compile(r"\n"), re.compile(r"(?<=[.!?])\s|(?<=[。！？；])"), re.compile(r"\s|(?<=[，、])"))
"""Where a long paragraph may be cut, the best first."""


@dataclass(frozen=True, slots=True)
class Chunk:
    text: str
    start: int
    """Where it begins, in characters from 0."""
    line: int
    """In which line, from 1."""


def chunks(text: str, most: int, overlap: int) -> Iterator[Chunk]:
    """At most `most` characters each. Each begins with whole paragraphs of the one before, at most `overlap` in all.

    A heading begins a passage and does not end one, where what follows it has room.
    """
    units = list(_units(text, most))
    first = fresh = 0
    """Where the passage begins, and the first unit that no passage has yet."""
    while fresh < len(units):
        if units[fresh][1] - units[first][0] > most:
            first = fresh
        end = fresh + 1
        while end < len(units) and units[end][1] - units[first][0] <= most:
            end += 1
        if end < len(units):
            while end - 1 > fresh and _is_heading(text, units[end - 1]):
                end -= 1
        start = units[first][0]
        yield Chunk(text[start : units[end - 1][1]], start, text.count("\n", 0, start) + 1)
        fresh = first = end
        while first > 0 and units[end - 1][1] - units[first - 1][0] <= overlap:
            first -= 1


def _is_heading(text: str, span: tuple[int, int]) -> bool:
    return HEADING.fullmatch(text, *span) is not None


def _units(text: str, most: int) -> Iterator[tuple[int, int]]:
    """Paragraphs as spans, the long ones in pieces."""
    for found in PARAGRAPH.finditer(text):
        start, end = found.span()
        while end - start > most:
            cut = _border(text, start, start + most)
            yield start, cut
            start = cut + len(text[cut:end]) - len(text[cut:end].lstrip())
        if start < end:
            yield start, end


def _border(text: str, start: int, limit: int) -> int:
    """The last good place to cut before the limit; the limit itself where there is none in the second half."""
    for border in BORDERS:
        last = max((one.start() for one in border.finditer(text, start + 1, limit)), default=0)
        if last > start + (limit - start) // 2:
            return last
    return limit
