"""The pictures: a heat map only where two keys were crossed, and points by names that tell them apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vllm_flow.report.pictures import write_pictures

figures = pytest.importorskip("matplotlib.figure")
HEAT, WHOLE = "sampling.temperature", "resources.engine.threads"


def data_of(keys: tuple[str, ...], *values: tuple[str, ...]) -> dict[str, Any]:
    """A report of one metric; each point's mean is its place."""
    points = [{"name": str(place), "values": dict(zip(keys, one, strict=True))} for place, one in enumerate(values)]
    cells = [{"mean": float(place), "interval": None} for place in range(len(values))]
    metric = {"name": "a/b", "use": "answer/exact", "cells": cells}
    return {"keys": list(keys), "headline": ["a/b"], "points": points, "metrics": [metric]}


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Draws a report, and gives the axes of its only picture."""
    saved: list[Any] = []
    save = figures.Figure.savefig

    def kept(figure: Any, *given: Any, **options: Any) -> None:
        saved.append(figure)
        save(figure, *given, **options)

    monkeypatch.setattr(figures.Figure, "savefig", kept)

    def draw(data: dict[str, Any]) -> Any:
        assert [path.name for path in write_pictures(data, tmp_path / "plots")] == ["a_b.png"]
        return saved[-1].axes[0]

    return draw


def labels(axis: Any) -> list[str]:
    return [one.get_text() for one in axis.get_ticklabels()]


def test_two_crossed_keys_are_a_heat_map_in_the_order_of_their_numbers(drawn: Any) -> None:
    data = data_of((HEAT, WHOLE), ("10", "1"), ("10", "2"), ("9", "1"), ("9", "2"))
    data["metrics"][0]["cells"][3]["mean"] = None
    axes = drawn(data)
    (image,) = axes.images
    assert image.get_array().filled(-1).tolist() == [[2, 0], [-1, 1]]
    assert (labels(axes.xaxis), labels(axes.yaxis)) == (["9", "10"], ["1", "2"])
    assert (axes.get_xlabel(), axes.get_ylabel()) == (HEAT, WHOLE)
    assert [one.get_text() for one in axes.texts] == ["2", "0", "1"]


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        ((HEAT,), [("0",), ("1",)]),
        ((HEAT, WHOLE), [("0", "1"), ("0", "2"), ("0", "3")]),  # one of them is always the same
        ((HEAT, WHOLE), [("0", "1"), ("1", "2")]),  # changed together: half of a grid is a line of it
        ((HEAT, WHOLE), [("0", "1"), ("1", "2"), ("2", "3"), ("0", "3")]),  # fewer than half of nine
        ((HEAT, WHOLE, "seed"), [("0", "1", "1"), ("0", "2", "1"), ("1", "1", "1"), ("1", "2", "2")]),
    ],
)
def test_what_fills_no_grid_is_points(drawn: Any, keys: tuple[str, ...], values: list[tuple[str, ...]]) -> None:
    axes = drawn(data_of(keys, *values))
    assert not axes.images
    assert len(labels(axes.yaxis)) == len(values)


def test_points_are_named_by_as_much_of_a_key_as_tells_it_apart(drawn: Any) -> None:
    keys = ("resources.engine.dtype", "resources.judge.dtype", HEAT)
    axes = drawn(data_of(keys, ("a", "b", "0"), ("b", "a", "$1")))
    assert labels(axes.yaxis) == [
        "resources.engine.dtype=a, resources.judge.dtype=b, temperature=0",
        "resources.engine.dtype=b, resources.judge.dtype=a, temperature=\\$1",
    ]
