"""The terminal's drawing can be read back: every wire of any graph, in Unicode and in ASCII."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

import pytest
from rich.cells import cell_len

from vllm_flow.cli.drawing.picture import Picture
from vllm_flow.cli.drawing.terminal import drawn, in_plain
from vllm_flow.core.graph import Graph

from .graphs import SEEDS, Edges, a_pipeline, edges, hostile_pipeline, inside

ROW = re.compile(r"(?P<lanes>(?:[│| ] )*)(?P<run>(?:\S[─-])*)(?P<mark>\S)(?: (?P<name>.+?))?(?:  .*)?")
JOINS, CORNERS, OPENS, FRAMES = "├╰•┴+'", "╮┤.+", "▼v", "┃:"
GOES_ON = "│├•┼|"


@dataclass
class Read:
    """What a reader sees who follows the lines with a finger."""

    edges: Edges = field(default_factory=Counter)
    inside: dict[str, Read] = field(default_factory=dict)


def read(lines: list[str]) -> Read:
    seen, lanes, waiting, left = Read(), {}, [], list(lines)  # type: ignore[var-annotated]
    open_lanes: set[int] = set()
    while left:
        row = ROW.fullmatch(left.pop(0))
        assert row is not None
        start, column = len(row["lanes"]) // 2, len(row["lanes"] + row["run"]) // 2
        cells, all_cells = row["run"][::2], (row["lanes"] + row["run"])[::2]
        assert all(place in lanes for place, cell in enumerate(row["lanes"][::2]) if cell != " ")
        assert all(all_cells[place] not in " ─-" for place in open_lanes - {column})  # column: a lane that moves
        open_lanes = {place for place, cell in enumerate(all_cells) if cell in GOES_ON}
        sources = [lanes[start + place] for place, cell in enumerate(cells) if cell in JOINS]
        if row["name"] is None:  # a lane moves left
            assert (cells[0], row["mark"]) in {("╭", "╯"), (".", "'")}
            lanes[start] = lanes.pop(column)
            open_lanes.add(start)
            continue
        if row["mark"] in CORNERS:
            (source,) = sources
            waiting.append((source, row["name"]))
            continue
        waiting += [(source, "") for source in sources]
        if row["mark"] in OPENS:
            inner = []
            before = left[0][: 2 * column]
            assert all(before[2 * place] in "│|" for place in open_lanes)
            while left[0][2 * column] in FRAMES:
                assert left[0].startswith(before)
                inner.append(left.pop(0)[2 * column + 2 :])
            seen.inside[row["name"]] = read(inner)
            continue
        seen.edges.update((source, row["name"], label) for source, label in waiting)
        lanes[column], waiting = row["name"], []
    return seen


def drawing(lines: str) -> list[str]:
    """Without the legend."""
    body, _, _ = lines.partition("\n\n")
    return body.splitlines()


def agree(seen: Read, graph: Graph) -> None:
    assert seen.edges == edges(graph)
    assert seen.inside.keys() == inside(graph).keys()
    for name, inner in inside(graph).items():
        agree(seen.inside[name], inner)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_wire_can_be_followed(seed: int, encoding: str) -> None:
    pipeline = a_pipeline(seed)
    text = in_plain(drawn(Picture.of(pipeline)), encoding)
    assert text.isascii() == (encoding == "ascii")
    agree(read(drawing(text)), pipeline.graph)


def test_the_drawings_that_are_read_back_hold_everything_there_is_to_draw() -> None:
    text = "\n".join(in_plain(drawn(Picture.of(a_pipeline(seed))), "utf-8") for seed in SEEDS)
    assert set("○◇◆★■▼┃│─┼•├╰┴╮┤╭╯") <= set(text)


@pytest.mark.parametrize("width", [30, 80, 120])
def test_what_does_not_fit_in_columns_stands_right_behind_the_names(width: int) -> None:
    pipeline = a_pipeline(3)
    wide, narrow = (in_plain(drawn(Picture.of(pipeline), at), "utf-8") for at in (1000, width))
    fits = max(map(len, drawing(wide))) <= width
    assert drawing(narrow) == (
        drawing(wide) if fits else [re.sub(r"(\S) {2,}(?=\w)", r"\1  ", one) for one in drawing(wide)]
    )
    assert max(map(len, narrow.partition("\n\n")[2].splitlines())) <= width
    agree(read(drawing(narrow)), pipeline.graph)


def test_hostile_names_break_no_line() -> None:
    pipeline = hostile_pipeline()
    lines = drawing(in_plain(drawn(Picture.of(pipeline)), "utf-8"))
    assert all(line.isprintable() for line in lines)
    agree(read(lines), pipeline.graph)
    assert len({cell_len(line[: line.index("字")]) for line in lines if "字" in line}) == 1  # a column is a column
