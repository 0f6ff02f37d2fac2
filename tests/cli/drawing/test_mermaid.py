"""The Mermaid text: every value and every wire once, and no name that means anything to Mermaid."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from vllm_flow.cli.drawing.mermaid import to_mermaid
from vllm_flow.cli.drawing.picture import Picture
from vllm_flow.core.graph import Graph

from .graphs import SEEDS, Edges, a_pipeline, edges, hostile_pipeline, inside

NODE = re.compile(r'(?P<id>\w+)(?:\(\[|\[\(|\[|\{\{)"(?P<label>[^"]*)"(?:\]\)|\)\]|\]|\}\}):::(?P<kind>\w+)', re.ASCII)
FRAME = re.compile(r'subgraph (?P<id>\w+)\["(?P<label>[^"]*)"\]', re.ASCII)
WIRE = re.compile(r'(?P<source>\w+) -->(?:\|"(?P<label>[^"]*)"\|)? (?P<target>\w+)', re.ASCII)


def plain(text: str) -> str:
    return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), text)


def read(lines: list[str]) -> tuple[Edges, dict[str, list[str]]]:
    """The wires by the names of values, and the lines of each subgraph; takes the lines that belong to it."""
    names: dict[str, str] = {}
    wires: Edges = Counter()
    frames: dict[str, list[str]] = {}
    left = [line[2:] for line in lines]
    while left:
        line = left.pop(0)
        if found := NODE.fullmatch(line):
            assert found["id"] not in names
            names[found["id"]] = plain(found["label"].partition("<br/>")[0])
        elif found := FRAME.fullmatch(line):
            name = names[found["id"]] = plain(found["label"].partition(": ")[0])
            end = left.index("end")
            frames[name], left = left[1:end], left[end + 2 :]  # its direction, and the class behind it
        elif found := WIRE.fullmatch(line):
            wires[names[found["source"]], names[found["target"]], plain(found["label"] or "")] += 1
        else:
            assert line.startswith("classDef ")
    return wires, frames


def agree(lines: list[str], graph: Graph) -> None:
    wires, frames = read(lines)
    assert wires == edges(graph)
    assert frames.keys() == inside(graph).keys()
    for name, inner in inside(graph).items():
        agree(frames[name], inner)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_wire_is_there_once(seed: int) -> None:
    pipeline = a_pipeline(seed)
    text = to_mermaid(Picture.of(pipeline))
    head, *lines = text.splitlines()
    assert head == "flowchart TB"
    identifiers = re.findall(r"^ +(?:subgraph )?(\w+)[\[({]", text, re.MULTILINE)
    assert len(identifiers) == len(set(identifiers))
    agree(lines, pipeline.graph)


def test_a_hostile_name_stays_inside_its_label() -> None:
    pipeline = hostile_pipeline()
    text = to_mermaid(Picture.of(pipeline))
    assert text.isascii()
    agree(text.splitlines()[1:], pipeline.graph)
