"""The plots as PNG files, for a text that is not a web page. Needs matplotlib, the extra `plot`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vllm_flow.report.tables import short

DPI = 144


def write_pictures(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """One file for each metric that was asked for: a heat map where two keys were crossed, else points with intervals.

    Raises ModuleNotFoundError without matplotlib.
    """
    from matplotlib.figure import Figure

    written = []
    for metric in data["metrics"]:
        places = [place for place, cell in enumerate(metric["cells"]) if cell["mean"] is not None]
        if metric["name"] not in data["headline"] or not places:
            continue
        figure = Figure(figsize=(7, max(3, 1.6 + 0.28 * len(places))), layout="constrained")
        if not _heat(figure, data, metric):
            _dots(figure, data, metric, places)
        folder.mkdir(exist_ok=True, mode=0o700)
        path = folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', metric['name'])}.png"
        figure.savefig(path, dpi=DPI)
        written.append(path)
    return written


def _dots(figure: Any, data: Mapping[str, Any], metric: Mapping[str, Any], places: Sequence[int]) -> None:
    axes = figure.add_subplot()
    cells = [metric["cells"][place] for place in places]
    means = [cell["mean"] for cell in cells]
    ends = [cell["interval"] or (cell["mean"], cell["mean"]) for cell in cells]
    below = [mean - low for mean, (low, _) in zip(means, ends, strict=True)]
    above = [high - mean for mean, (_, high) in zip(means, ends, strict=True)]
    rows = range(len(places))
    axes.errorbar(means, list(rows), xerr=[below, above], fmt="o", capsize=3)
    axes.set_yticks(list(rows), [_title(data, place) for place in places])
    axes.invert_yaxis()
    axes.set_xlabel(_name(metric))
    axes.grid(axis="x", alpha=0.3)


def _heat(figure: Any, data: Mapping[str, Any], metric: Mapping[str, Any]) -> bool:
    """Whether there is a grid to be drawn."""
    if len(data["keys"]) != 2:
        return False
    pairs = [tuple(point["values"].get(key, "") for key in data["keys"]) for point in data["points"]]
    across, down = (_ordered([pair[axis] for pair in pairs]) for axis in (0, 1))
    there_are = len(set(pairs))
    if there_are <= max(len(across), len(down)) or 2 * there_are < len(across) * len(down):
        return False  # keys that were changed together, as sweep.zip does, fill no grid
    means = {pair: cell["mean"] for pair, cell in zip(pairs, metric["cells"], strict=True)}
    table = [[means.get((x, y)) for x in across] for y in down]
    axes = figure.add_subplot()
    drawn = axes.imshow([[math.nan if one is None else one for one in row] for row in table], aspect="auto")
    for row, y in enumerate(down):
        for column, x in enumerate(across):
            if (mean := means.get((x, y))) is not None:
                light = drawn.norm(mean) < 0.5
                axes.text(column, row, f"{mean:.3g}", ha="center", va="center", color="white" if light else "black")
    axes.set_xticks(range(len(across)), across)
    axes.set_yticks(range(len(down)), down)
    axes.set_xlabel(data["keys"][0])
    axes.set_ylabel(data["keys"][1])
    figure.colorbar(drawn, label=_name(metric))
    return True


def _ordered(values: Sequence[str]) -> list[str]:
    different = list(dict.fromkeys(values))
    try:
        return sorted(different, key=float)
    except ValueError:
        return different


def _title(data: Mapping[str, Any], place: int) -> str:
    point = data["points"][place]
    said = ", ".join(f"{short(data, key)}={value}" for key, value in point["values"].items())
    return _literal(said or point["name"] or "this run")


def _name(metric: Mapping[str, Any]) -> str:
    return _literal(f"{metric['name']} ({metric['use']})")


def _literal(text: str) -> str:
    """Without the dollar signs that would be read as mathematics."""
    return text.replace("$", r"\$")
