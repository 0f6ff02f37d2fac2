"""The drawing as one SVG file that needs nothing else: no script, no font, no network; light and dark by itself.

Each value has one colour, for its box and for all its wires. What a box is and has is in its `<title>`, which browsers
show as a tooltip and screen readers read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from rich.cells import cell_len

from vllm_flow.cli.drawing.layered import Box, Layout, laid_out
from vllm_flow.cli.drawing.picture import Item, Picture, Wire
from vllm_flow.core.errors import ConfigError, Fault

MARGIN, PADDING, LINE = 24.0, 14.0, 18.0
NAME_SIZE, SMALL_SIZE = 14.0, 11.0
ADVANCE = 0.62
"""Width of a monospace character, in sizes; a little more than any common font has."""
LIGHT = ("#0b7285", "#862e9c", "#1864ab", "#a15c00", "#c2255c", "#5f3dc4", "#37702a")
DARK = ("#66d9e8", "#e599f7", "#74c0fc", "#ffc078", "#faa2c1", "#b197fc", "#a9e34b")
STYLE = """
svg{--paper:#fff;--box:#f8f9fa;--ink:#16191d;--faint:#59636e;--inside:#f1f3f5;LIGHT}
@media (prefers-color-scheme:dark){
svg{--paper:#101317;--box:#1b2027;--ink:#eef1f4;--faint:#9aa5b1;--inside:#161a20;DARK}}
text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:var(--ink)}
.paper{fill:var(--paper)}
.name{font-size:14px;font-weight:600}
.small{font-size:11px;fill:var(--faint)}
.label{font-size:11px;font-style:italic;paint-order:stroke;stroke:var(--paper);stroke-width:4px;stroke-linejoin:round}
.box{fill:var(--box);stroke-width:1.5px}
.inside{fill:var(--inside);stroke-width:1.5px}
.given>rect{stroke-dasharray:4 3}
.output>rect{stroke-width:3.5px}
.effect>.box{stroke:var(--faint)}
.wire{fill:none;stroke-width:1.8px;stroke-linecap:round}
.field{fill-opacity:.14}
.rule{stroke:var(--faint);fill:none}
"""


def to_svg(picture: Picture) -> str:
    """The whole file. Equal pictures give equal bytes."""
    drawn = _drawn(picture, 0)
    return svg_file(picture.name, drawn.width, drawn.height, drawn.body)


def svg_file(title: str, width: float, height: float, body: str) -> str:
    """A file that needs nothing else, with this drawing in it."""
    width, height = width + 2 * MARGIN, height + 2 * MARGIN
    colours = [f"--c{number}:{light};" for number, light in enumerate(LIGHT)]
    darks = [f"--c{number}:{dark};" for number, dark in enumerate(DARK)]
    classes = "".join(
        f".c{one}>.box,.c{one}>.inside,.wire.c{one}{{stroke:var(--c{one})}}"
        f".end.c{one},.field.c{one}{{fill:var(--c{one})}}\n"
        for one in range(len(LIGHT))
    )
    style = classes + STYLE.replace("LIGHT", "".join(colours)).replace("DARK", "".join(darks))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{style}</style>\n"
        f'<rect class="paper" width="100%" height="100%"/>\n'
        f'<g transform="translate({MARGIN:.0f} {MARGIN:.0f})">\n{body}</g>\n</svg>\n'
    )


def write_svg(drawing: str, path: str) -> None:
    """Raises ConfigError where it cannot be written."""
    try:
        Path(path).write_text(drawing, encoding="utf-8", newline="\n")
    except OSError as error:
        problem = f"{path} cannot be written: {error.strerror}. Choose another place."
        raise ConfigError([Fault("--svg", problem, "command line")]) from error


@dataclass(frozen=True, slots=True)
class Drawn:
    body: str
    width: float
    height: float


def _drawn(picture: Picture, colour: int) -> Drawn:
    """A picture in its own coordinates; `colour` is the number of its first item."""
    colours = {item.name: (colour + number) % len(LIGHT) for number, item in enumerate(picture.items)}
    inner = {item.name: _drawn(item.inside, colours[item.name] + 1) for item in picture.items if item.inside}
    boxes = [Box(item.name, *_size(item, inner.get(item.name)), _sources(item)) for item in picture.items]
    sizes = {box.name: (box.width, box.height) for box in boxes}
    layout = laid_out(boxes)
    body = []
    for item in picture.items:
        body += _wires(item, sizes, layout, colours)
    for item in picture.items:
        rank = layout.ranks[item.name]
        width, _ = sizes[item.name]
        x = layout.centres[item.name, rank] - width / 2
        body.append(_box(item, colours[item.name], (x, layout.tops[rank], *sizes[item.name]), inner.get(item.name)))
    return Drawn("".join(body), layout.width, layout.bottoms[-1])


def _sources(item: Item) -> tuple[str, ...]:
    return tuple(dict.fromkeys(wire.source for wire in item.wires))


def _size(item: Item, inner: Drawn | None) -> tuple[float, float]:
    words = max(_length(item.name, NAME_SIZE), _length(item.use, SMALL_SIZE), _length(item.type, SMALL_SIZE))
    width = max(words + 2 * PADDING, sum(map(_port, item.wires)))
    if inner is None:
        return width, 3 * LINE + 10
    return max(width, inner.width + 2 * MARGIN), inner.height + 3 * LINE + 14 + MARGIN


def _port(wire: Wire) -> float:
    """How much of a box's upper side a wire takes, its label included."""
    return _length(wire.label, SMALL_SIZE) + 22 if wire.label else 18.0


def _length(text: str, size: float) -> float:
    return cell_len(text) * size * ADVANCE


def _box(item: Item, colour: int, place: tuple[float, float, float, float], inner: Drawn | None) -> str:
    x, y, width, height = place
    round_ = 8 if item.kind in ("value", "output", "effect") else 24
    lines = [
        f'<g class="item {item.kind} c{colour}" data-name={quoteattr(item.name)} '
        f'transform="translate({x:.1f} {y:.1f})">\n<title>{escape(_tooltip(item))}</title>\n',
        f'<rect class="{"inside" if inner else "box"}" width="{width:.1f}" height="{height:.1f}" rx="{round_}"/>\n',
    ]
    mark = "★ " if item.kind == "output" else ""
    below = "effect" if item.kind == "effect" else item.type
    for number, (style, text) in enumerate((("name", mark + item.name), ("small", item.use), ("small", below))):
        lines.append(
            f'<text class="{style}" x="{width / 2:.1f}" y="{20 + number * LINE:.1f}" text-anchor="middle">'
            f"{escape(text)}</text>\n"
        )
    if inner:
        lines.append(
            f'<g transform="translate({(width - inner.width) / 2:.1f} {3 * LINE + 14:.1f})">\n{inner.body}</g>\n'
        )
    return "".join([*lines, "</g>\n"])


def _tooltip(item: Item) -> str:
    reads = ", ".join(f"{wire.source} {wire.label}".strip() for wire in item.wires)
    lines = [f"{item.name}: {item.type}", item.kind if item.kind == item.use else f"{item.kind}, {item.use}"]
    lines += [f"reads {reads}"] if reads else []
    return "\n".join([*lines, *(f"{option}: {value}" for option, value in item.options)])


def _wires(item: Item, sizes: dict[str, tuple[float, float]], layout: Layout, colours: dict[str, int]) -> list[str]:
    """The wires that end in an item, from left to right as they come."""
    rank = layout.ranks[item.name]
    wires = sorted(item.wires, key=lambda wire: layout.centres[wire.source, rank - 1])
    start = layout.centres[item.name, rank] - sum(map(_port, wires)) / 2
    drawn = []
    for wire in wires:
        at = start + (9.0 if not wire.label else 7.0)
        start += _port(wire)
        top = layout.tops[rank]
        path = _path(wire.source, item.name, at, sizes[wire.source][1], layout)
        colour = colours[wire.source]
        label = f" {wire.label}" if wire.label else ""
        drawn.append(
            f'<g class="edge" data-from={quoteattr(wire.source)} data-to={quoteattr(item.name)} '
            f"data-parameter={quoteattr(wire.parameter)}>"
            f"<title>{escape(f'{wire.source} → {item.name}{label}')}</title>"
            f'<path class="wire c{colour}" d="{path}"/>'
            f'<path class="end c{colour}" d="M{at:.1f} {top:.1f}l-4.5 -8h9z"/>'
            + (f'<text class="label" x="{at + 7:.1f}" y="{top - 7:.1f}">{escape(wire.label)}</text>' if label else "")
            + "</g>\n"
        )
    return drawn


def _path(source: str, target: str, at: float, height: float, layout: Layout) -> str:
    """Straight down beside the boxes of a rank, in a curve between two ranks."""
    slots = layout.way(source, target)
    x, first = layout.centres[slots[0]], layout.ranks[source]
    steps = [f"M{x:.1f} {layout.tops[first] + height:.1f}"]
    for number, slot in enumerate(slots):
        bottom, below = layout.bottoms[slot[1]], layout.tops[slot[1] + 1]
        last = number == len(slots) - 1
        to = at if last else layout.centres[slots[number + 1]]
        end = below - 6 if last else below
        bend = (below - bottom) * 0.55
        steps.append(f"L{layout.centres[slot]:.1f} {bottom:.1f}")
        steps.append(f"C{layout.centres[slot]:.1f} {bottom + bend:.1f} {to:.1f} {below - bend:.1f} {to:.1f} {end:.1f}")
    return "".join(steps)
