"""The layout: what it aims at, where its places can be told beforehand."""

from __future__ import annotations

from vllm_flow.cli.drawing.layered import Box, laid_out


def box(name: str, *sources: str) -> Box:
    return Box(name, 100, 50, sources)


def test_wires_that_need_not_cross_do_not() -> None:
    layout = laid_out([box("a"), box("b"), box("c"), box("z", "c"), box("y", "a"), box("x", "b")])
    above = sorted("abc", key=lambda name: layout.centres[name, 0])
    below = sorted("yxz", key=lambda name: layout.centres[name, 1])
    assert [{"a": "y", "b": "x", "c": "z"}[name] for name in above] == below


def test_what_reads_nothing_stands_right_above_its_first_reader() -> None:
    layout = laid_out([box("a"), box("b", "a"), box("late"), box("c", "b", "late"), box("d", "c", "late")])
    assert layout.ranks == {"a": 0, "b": 1, "late": 1, "c": 2, "d": 3}
    assert layout.way("late", "d") == [("late", 1), ("late", 2)]


def test_a_box_stands_below_the_one_it_reads() -> None:
    layout = laid_out([box("a"), box("b", "a"), box("c", "a"), Box("d", 300, 50, ("c",)), box("e", "d")])
    places = [layout.centres[name, rank] for name, rank in (("c", 1), ("d", 2), ("e", 3))]
    assert max(places) - min(places) < 1
    assert layout.width == max(layout.centres["d", 2], layout.centres["e", 3]) + 150
