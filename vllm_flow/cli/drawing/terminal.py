"""The terminal's drawing: one line for each value, in running order; a value is a lane that runs down to its readers.

Lanes and not boxes, because boxes in text stop being readable at the first graph that is no chain: a lane has one
column, joins and crossings are different characters, so that every wire of any graph can be followed. As in a circuit
diagram, a dot joins and lines without one only cross. A new lane is always the rightmost, so a name stands at its lane.
"""

from __future__ import annotations

import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.cells import cell_len

from vllm_flow.cli.drawing.picture import Item, Picture, Wire

MARKS = {"given": "○", "resource": "◇", "value": "◆", "output": "★", "effect": "■"}
OPENS, INSIDE = "▼", "┃"
WORDS = {
    "○": "given", "◇": "resource", "◆": "value", "★": "output", "■": "effect", OPENS: "pipeline",
    "•": "joins", "┼": "crosses",
}  # fmt: skip
ASCII = str.maketrans("○◇◆★■▼┃│─┼•├╰┴╮┤╭╯", "o%*@#v:|-|++'+.+.'")
"""For streams that cannot take the characters. A crossing lane stays `|`, so that `+` always joins."""
COLOURS = ("cyan", "magenta", "blue", "yellow", "red", "bright_blue", "bright_magenta")
CROWDED = 12
"""From this column on, lanes move left into columns that have become free."""


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of text in one style of rich's."""

    text: str
    style: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    cells: tuple[Span, ...]
    """One character each."""
    label: str = ""
    style: str = ""
    columns: tuple[str, str] = ("", "")
    """Stage and type."""

    def behind(self, cells: tuple[Span, ...]) -> Row:
        return Row((*cells, *self.cells), self.label, self.style, self.columns)

    @property
    def width(self) -> int:
        return len(self.cells) + cell_len(self.label)


def drawn(picture: Picture, width: int = sys.maxsize) -> list[list[Span]]:
    """The lines of the drawing, the legend last.

    Stages and types stand in columns, or right behind the names where columns would not fit `width`.
    """
    rows = list(_Lanes(picture).rows())
    start = max(row.width for row in rows if any(row.columns)) + 3
    middle = max(cell_len(row.columns[0]) for row in rows) + 2
    if start + middle + max(cell_len(row.columns[1]) for row in rows) > width:
        start = middle = 0
    lines = []
    for row in rows:
        stage, kind = row.columns
        pad = " " * max(2, start - row.width) if stage or kind else ""
        gap = " " * max(2 if stage else 0, middle - cell_len(stage)) if kind else ""
        lines.append([*row.cells, Span(row.label, row.style), Span(pad + stage), Span(gap + kind, "dim")])
    used = {cell.text for row in rows for cell in row.cells}
    legend = "  ".join(f"{mark}\N{NO-BREAK SPACE}{word}" for mark, word in WORDS.items() if mark in used)
    return [*lines, [], *([Span(line.replace("\xa0", " "), "dim")] for line in textwrap.wrap(legend, width))]


def can_show(lines: list[list[Span]], encoding: str) -> bool:
    """Whether a stream of this encoding takes every character."""
    try:
        _text(lines).encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def in_plain(lines: list[list[Span]], encoding: str) -> str:
    """The drawing without colours; in ASCII, but for the names, where `encoding` lacks a character."""
    text = _text(lines)
    return text if can_show(lines, encoding) else text.translate(ASCII)


def _text(lines: list[list[Span]]) -> str:
    return "\n".join("".join(span.text for span in line).rstrip() for line in lines)


@dataclass
class _Lanes:
    """Where each value's lane is while one picture is drawn from top to bottom."""

    picture: Picture
    lanes: list[str | None] = field(default_factory=list)
    """Column to the value whose lane it is. The last is never free."""
    waiting: Counter[str] = field(default_factory=Counter)
    """How many wires still come from each value."""
    colours: dict[str, str] = field(default_factory=dict)

    def rows(self) -> Iterator[Row]:
        self.waiting = Counter(wire.source for item in self.picture.items for wire in item.wires)
        for number, item in enumerate(self.picture.items):
            self.colours[item.name] = "bold green" if item.kind == "output" else COLOURS[number % len(COLOURS)]
            yield from self._move_left()
            yield from self._item(item)

    def _item(self, item: Item) -> Iterator[Row]:
        column = len(self.lanes)
        labelled = [wire for wire in item.wires if wire.label]
        for number, wire in enumerate(labelled):
            yield Row(self._joined([wire], column, item, "┤" if number else "╮"), f" {wire.label}", "italic")
        mark = OPENS if item.inside else MARKS[item.kind]
        cells = self._joined([wire for wire in item.wires if not wire.label], column, item, mark)
        style = "" if item.kind in ("given", "resource") else f"bold {self.colours[item.name]}"
        if item.inside:
            yield Row(cells, f" {item.name}", style, (item.use, ""))
            before = (*self._running(column), Span(INSIDE, self.colours[item.name]), Span(" "))
            for row in _Lanes(item.inside).rows():
                yield row.behind(before)
            cells = (*self._running(column), Span(MARKS[item.kind], self.colours[item.name]))
        yield Row(cells, f" {item.name}", style, ("" if item.inside else item.use, item.type))
        self.lanes += [None] * (column - len(self.lanes)) + [item.name]
        self._end_unread()

    def _joined(self, wires: list[Wire], column: int, item: Item, end: str) -> tuple[Span, ...]:
        """A line of lanes in which these wires go right, to `end` in `column`."""
        own = self.colours[item.name]
        sources = {self.lanes.index(wire.source) for wire in wires}
        self.waiting.subtract(wire.source for wire in wires)
        first = min(sources, default=column)
        cells = list(self._running(first))
        for at in range(first, column):
            value = self.lanes[at] if at < len(self.lanes) else None
            ends = value is not None and not self.waiting[value]
            if at in sources:
                mark = ("╰" if ends else "├") if at == first else "┴" if ends else "•"
            else:
                mark = "┼" if value is not None else "─"
            cells += [Span(mark, self.colours[value] if value is not None else own), Span("─", own)]
        self._end_unread()
        return (*cells, Span(end, own))

    def _running(self, columns: int) -> tuple[Span, ...]:
        """The lanes left of a column, where nothing happens to them."""
        cells: list[Span] = []
        for value in (*self.lanes, *[None] * columns)[:columns]:
            cells += [Span("│", self.colours[value]) if value is not None else Span(" "), Span(" ")]
        return tuple(cells)

    def _end_unread(self) -> None:
        self.lanes = [value if value is not None and self.waiting[value] else None for value in self.lanes]
        while self.lanes and self.lanes[-1] is None:
            self.lanes.pop()

    def _move_left(self) -> Iterator[Row]:
        """When the drawing has become wide and half of it is empty: the rightmost lanes into the empty columns."""
        if len(self.lanes) < CROWDED or self.lanes.count(None) * 2 < len(self.lanes):
            return
        while None in self.lanes:
            free, value = self.lanes.index(None), self.lanes.pop()
            own = self.colours[value or ""]
            cells = [*self._running(free), Span("╭", own), Span("─", own)]
            for between in self.lanes[free + 1 :]:
                mark = Span("─", own) if between is None else Span("┼", self.colours[between])
                cells += [mark, Span("─", own)]
            self.lanes[free] = value
            while self.lanes[-1] is None:
                self.lanes.pop()
            yield Row((*cells, Span("╯", own)))
