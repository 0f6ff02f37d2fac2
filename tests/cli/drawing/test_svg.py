"""The SVG file: sound XML that needs nothing else, a box for each value, a wire for each edge, and none in the way."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as Xml

import pytest

from vllm_flow.cli.drawing.picture import Picture
from vllm_flow.cli.drawing.svg import to_svg
from vllm_flow.core.errors import shown
from vllm_flow.core.graph import Graph
from vllm_flow.core.pipeline import Pipeline

from .graphs import HOSTILE, SEEDS, SHOWN, a_pipeline, edges, hostile_pipeline, inside

NS = "{http://www.w3.org/2000/svg}"
Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float
    height: float

    def covers(self, point: Point) -> bool:
        return self.x < point[0] < self.x + self.width and self.y < point[1] < self.y + self.height

    def overlaps(self, other: Box) -> bool:
        apart_x = self.x + self.width <= other.x or other.x + other.width <= self.x
        return not (apart_x or self.y + self.height <= other.y or other.y + other.height <= self.y)


def parsed(svg: str) -> Xml.Element:
    """The group that holds the outermost picture."""
    (group,) = Xml.fromstring(svg.encode()).findall(f"{NS}g")
    return group


def boxes(picture: Xml.Element) -> dict[str, Box]:
    found = {}
    for one in picture.findall(f"{NS}g[@data-name]"):
        x, y = map(float, re.findall(r"[\d.]+", one.attrib["transform"]))
        rect = one.find(f"{NS}rect")
        assert rect is not None
        found[one.attrib["data-name"]] = Box(x, y, float(rect.attrib["width"]), float(rect.attrib["height"]))
    return found


def points(path: str) -> Iterator[Point]:
    """A wire as a chain of near points."""
    at: Point = (0, 0)
    for letter, numbers in re.findall(r"([MLC])([^MLC]+)", path):
        values = list(map(float, numbers.split()))
        way = [at, *zip(values[::2], values[1::2], strict=True)]
        if letter == "M":
            way = way[1:]
        for step in range(21) if letter != "M" else [0]:
            chain = way
            while len(chain) > 1:  # de Casteljau
                chain = [
                    tuple(a + (b - a) * step / 20 for a, b in zip(one, other, strict=True))  # type: ignore[misc]
                    for one, other in itertools.pairwise(chain)
                ]
            yield chain[0]
        at = way[-1]


def agree(picture: Xml.Element, graph: Graph) -> None:
    found = boxes(picture)
    assert len(found) == len(picture.findall(f"{NS}g[@data-name]"))
    assert found.keys() >= {node.name for node in graph.nodes}
    assert [pair for pair in itertools.combinations(found, 2) if found[pair[0]].overlaps(found[pair[1]])] == []
    wires = picture.findall(f"{NS}g[@data-from]")
    labels = [(one.attrib["data-from"], one.attrib["data-to"], one.findtext(f"{NS}text") or "") for one in wires]
    assert Counter(labels) == edges(graph)
    for (source, target, _), wire in zip(labels, wires, strict=True):
        path = wire.find(f"{NS}path")
        assert path is not None
        first, *between, last = points(path.attrib["d"])
        above, below = found[source], found[target]
        assert first == pytest.approx((above.x + above.width / 2, above.y + above.height), abs=0.2)
        assert below.x < last[0] < below.x + below.width
        assert below.y - 6 == pytest.approx(last[1], abs=0.2)  # where its arrow begins
        assert [name for name, box in found.items() for point in between if box.covers(point)] == []
    for one in picture.findall(f"{NS}g[@data-name]"):
        title, name = one.findtext(f"{NS}title") or "", one.attrib["data-name"]
        assert title.startswith(f"{name}: ")
        inner = one.find(f"{NS}g")
        assert (inner is None) == (name not in inside(graph))
        if inner is not None:
            x, y = map(float, re.findall(r"[\d.]+", inner.attrib["transform"]))
            frame = found[name]
            for box in boxes(inner).values():
                assert 0 <= x + box.x <= x + box.x + box.width <= frame.width
                assert 0 <= y + box.y <= y + box.y + box.height <= frame.height
            agree(inner, inside(graph)[name])


@pytest.mark.parametrize("seed", SEEDS)
def test_every_value_has_its_box_and_every_wire_its_way(seed: int) -> None:
    pipeline = a_pipeline(seed)
    svg = to_svg(Picture.of(pipeline))
    agree(parsed(svg), pipeline.graph)
    assert svg == to_svg(Picture.of(pipeline))


@pytest.mark.parametrize("pipeline", [a_pipeline(1), hostile_pipeline()], ids=["plain", "hostile"])
def test_nothing_in_it_runs_or_is_fetched(pipeline: Pipeline) -> None:
    svg = to_svg(Picture.of(pipeline))
    root = Xml.fromstring(svg.encode())
    assert {one.tag.removeprefix(NS) for one in root.iter()} == {"svg", "title", "style", "rect", "g", "path", "text"}
    assert {key for one in root.iter() for key in one.attrib if "href" in key or key.startswith("on")} == set()
    style = root.findtext(f"{NS}style") or ""
    assert "url(" not in style
    assert "@import" not in style


def test_hostile_names_and_options_are_text_like_any_other() -> None:
    pipeline = hostile_pipeline()
    root = parsed(to_svg(Picture.of(pipeline)))
    agree(root, pipeline.graph)
    assert SHOWN in {one.text for one in root.iter(f"{NS}text")}
    assert [one for one in root.iter(f"{NS}title") if f"\nsystem: {shown(HOSTILE)}" in (one.text or "")]
