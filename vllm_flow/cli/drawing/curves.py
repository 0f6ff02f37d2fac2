"""Curves in a terminal: what is planned of each sampling parameter that moves, in braille dots, one below another.

A column of dots shows the lowest and the highest of its tokens, so that no short spike is lost. What only a run can
tell is a dot at its beginning, and around it the field that it stays in.
"""

from __future__ import annotations

from collections.abc import Sequence

from vllm_flow.cli.drawing.plans import Plan, ends, in_words, number
from vllm_flow.cli.drawing.terminal import Span
from vllm_flow.core.planned import Planned

ROWS, WIDTH, NARROWEST = 5, 64, 16
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Of a braille character, by row and column (Unicode 16, 10.11)."""
BLANK, FIELD, START = 0x2800, "░", "●"
FRAME = str.maketrans("┤│└─░●", "+|+-.*")
Cells = list[list[str]]


def drawn(plans: Sequence[Plan], width: int) -> list[list[Span]]:
    """The lines of all charts; no wider than `width`, but for words."""
    lines: list[list[Span]] = []
    for plan in plans:
        if len(plans) > 1:
            lines += [[Span(plan.nodes, "bold")], []]
        for one in plan.moving:
            lines += [[Span(one.parameter, "bold green"), Span(f"  {in_words(one)}")], *_chart(one, width), []]
        lines += [[Span(plan.rest, "dim")], []]
    return lines[:-1]


def to_ascii(text: str) -> str:
    """The same for a stream that takes no more: a cell of dots becomes the mark that is most like it."""
    return text.translate(FRAME | {code: _like(code - BLANK) for code in range(BLANK + 1, BLANK + 256)})


def _like(dots: int) -> str:
    rows = [row for row, pair in enumerate(DOTS) if dots & (pair[0] | pair[1])]
    return "|" if len(rows) > 2 else "'" if rows[0] == 0 else "." if rows[-1] == 3 else "-"


def _chart(one: Planned, width: int) -> list[list[Span]]:
    extent = one.extent
    if extent is None:
        return []
    labels = [number(extent[1]), *[""] * (ROWS - 2), number(extent[0])]
    margin = max(map(len, labels))
    columns = max(NARROWEST, min(WIDTH, width - margin - 2))
    cells = _field(one, columns, extent) if one.follows else _curve(one.values, columns, extent)
    lines = []
    for label, row in zip(labels, cells, strict=True):
        text = "".join(row).rstrip()
        lines.append([Span(f"{label:>{margin}} {'┤' if label else '│'}", "dim"), Span(text, "cyan")])
    first, last = ends(one)
    gap = " " * max(1, columns - len(first) - len(last))
    axis = f"{' ' * margin}  {first}{gap}{last}"
    return [*lines, [Span(f"{' ' * margin} └{'─' * columns}", "dim")], [Span(axis, "dim")]]


def _curve(values: Sequence[float], columns: int, extent: tuple[float, float]) -> Cells:
    """Each value holds until the next; steps are joined."""
    codes = [[0] * columns for _ in range(ROWS)]
    across, before = 2 * columns, None
    for column in range(across):
        start = column * len(values) // across
        some = values[start : max(start + 1, (column + 1) * len(values) // across)]
        heights = [_height(value, extent) for value in some]
        low, high = min(heights), max(heights)
        if before is not None and low > before:
            low = before + 1
        elif before is not None and high < before:
            high = before - 1
        before = heights[-1]
        for height in range(low, high + 1):
            row, dot = divmod(4 * ROWS - 1 - height, 4)
            codes[row][column // 2] |= DOTS[dot][column % 2]
    return [[chr(BLANK + code) if code else " " for code in row] for row in codes]


def _field(one: Planned, columns: int, extent: tuple[float, float]) -> Cells:
    cells = [[FIELD] * columns for _ in range(ROWS)]
    cells[ROWS - 1 - _height(one.values[0], extent) // 4][0] = START
    return cells


def _height(value: float, extent: tuple[float, float]) -> int:
    """In dots from below; in the middle of what has one value alone."""
    low, high = extent
    return 2 * ROWS if low == high else round((value - low) / (high - low) * (4 * ROWS - 1))
