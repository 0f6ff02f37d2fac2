"""Curves as one SVG file: the terminal's charts with a line in place of dots, in the manner of the graph's picture."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from vllm_flow.cli.drawing.plans import Plan, ends, in_words, number
from vllm_flow.cli.drawing.svg import ADVANCE, LIGHT, LINE, NAME_SIZE, SMALL_SIZE, svg_file
from vllm_flow.core.planned import Planned, Point, thinned

WIDTH, HEIGHT, LEFT, GAP = 640.0, 110.0, 64.0, 22.0
MOST_POINTS = 400
"""Of a curve; fewer than it has pixels."""


def curves_to_svg(title: str, plans: Sequence[Plan]) -> str:
    """The whole file. Equal plans give equal bytes."""
    body, top, widest, colour = [], 0.0, LEFT + WIDTH, 0
    for plan in plans:
        if len(plans) > 1:
            top += LINE
            body.append(_text("name", 0, top, plan.nodes))
            top += GAP / 2
        for one in plan.moving:
            words = in_words(one)
            widest = max(widest, ADVANCE * (NAME_SIZE * (len(one.parameter) + 2) + SMALL_SIZE * len(words)))
            drawn, height = _chart(one, colour % len(LIGHT))
            body.append(
                f'<g data-parameter={quoteattr(one.parameter)} transform="translate(0 {top:.1f})">\n{drawn}</g>\n'
            )
            top, colour = top + height + GAP, colour + 1
        top += LINE
        body.append(_text("small", 0, top, plan.rest))
        widest = max(widest, ADVANCE * SMALL_SIZE * len(plan.rest))
        top += GAP / 2
    return svg_file(title, widest, top, "".join(body))


def _chart(one: Planned, colour: int) -> tuple[str, float]:
    """A chart in its own coordinates, and its height."""
    name = _text("name", 0, LINE - 4, one.parameter)
    words = _text("small", ADVANCE * NAME_SIZE * (len(one.parameter) + 2), LINE - 4, in_words(one))
    extent = one.extent
    if extent is None:
        return name + words, LINE
    top, bottom = LINE + 8, LINE + 8 + HEIGHT
    first, last = one.ends

    def at(point: Point) -> tuple[float, float]:
        low, high = extent
        share = 0.5 if low == high else (point[1] - low) / (high - low)
        return LEFT + (point[0] - first) / ((last - first) or 1) * WIDTH, bottom - share * HEIGHT

    if one.follows:
        x, y = at((first, one.values[0]))
        line = (
            f'<rect class="field c{colour}" x="{LEFT:.1f}" y="{top:.1f}" width="{WIDTH:.1f}" height="{HEIGHT:.1f}"/>\n'
        )
        line += f'<circle class="end c{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>\n'
    else:
        path = _path([at(point) for point in thinned(one.points, MOST_POINTS)], steps=one.axis == "turn")
        line = f'<path class="wire c{colour}" d="{path}"/>\n'
    frame = f'<path class="rule" d="M{LEFT:.1f} {top:.1f}V{bottom:.1f}H{LEFT + WIDTH:.1f}"/>\n'
    labels = [
        _text("small", LEFT - 6, top + 8, number(extent[1]), "end"),
        _text("small", LEFT - 6, bottom, number(extent[0]), "end") if extent[0] != extent[1] else "",
        _text("small", LEFT, bottom + 14, ends(one)[0]),
        _text("small", LEFT + WIDTH, bottom + 14, ends(one)[1], "end"),
    ]
    return name + words + frame + line + "".join(labels), bottom + 14


def _path(points: Sequence[Point], *, steps: bool) -> str:
    """Straight from point to point, or each holding until the next."""
    (x, y), *_ = points
    found = [f"M{x:.1f} {y:.1f}"]
    for (_, _), (x, y) in pairwise(points):
        found.append(f"H{x:.1f}V{y:.1f}" if steps else f"L{x:.1f} {y:.1f}")
    return "".join(found)


def _text(style: str, x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>\n'
