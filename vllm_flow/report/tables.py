"""The tables of the page, as HTML: semantic, readable without a script, with the keys they are sorted by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from vllm_flow.report.telling import number, with_interval

Cell = tuple[str, Any, str]
"""Text, what it is sorted by (None: by the text), and class."""
CLASSES = {
    "better, confirmed": "good",
    "better at first": "first",
    "better at first, not confirmed": "first",
    "better at first, seeds change nothing": "first",
    "worse": "bad",
}

TIMES = {"ttft_s": "seconds to the first token", "seconds": "to the last"}
"""Metrics that stand with the cost."""


def points_table(data: Mapping[str, Any]) -> str:
    """One row a point: its values, the metrics that were asked for, and how they stand to the baseline."""
    shown = [one for one in data["metrics"] if one["name"] in data["headline"]]
    sweep = data["kind"] == "sweep"
    some_failed = any(one["failed"] for one in data["points"])
    some_unfinished = not all(one["finished"] for one in data["points"])
    columns = [("point" if sweep else "run", False), *((short(data, key), False) for key in data["keys"])]
    for metric in shown:
        columns.append((metric["name"], True))
        columns += [("from the baseline", True)] * sweep + [("verdict", False)] * (sweep and metric["judged"])
    columns += [("answered", True), *[("failed", True)] * some_failed, *[("status", False)] * some_unfinished]
    rows = []
    for place, point in enumerate(data["points"]):
        cells: list[Cell] = [(point["name"], None, "")]
        cells += [(point["values"].get(key, ""), None, "") for key in data["keys"]]
        for metric in shown:
            cells += _of_metric(metric, place, sweep=sweep, is_baseline=place == data["baseline"])
        cells += [_count(point["answered"]), *[_count(point["failed"])] * some_failed]
        cells += [(point["status"], None, "")] * some_unfinished
        rows.append((_row_class(data, place), cells))
    paired = " of each point alone; differences are paired, answer by answer" if sweep else ""
    caption = f"Means over prompts, with intervals{paired}."
    heads, numeric = zip(*columns, strict=True)
    return _table(caption, heads, numeric, rows)


def _of_metric(metric: Mapping[str, Any], place: int, *, sweep: bool, is_baseline: bool) -> list[Cell]:
    one = metric["cells"][place]
    found: list[Cell] = [(with_interval(one["mean"], one["interval"]), _key(one["mean"]), "number")]
    if not sweep:
        return found
    text = "baseline" if is_baseline else with_interval(one["difference"], one["difference_interval"], signed=True)
    found.append((text, 0 if is_baseline else _key(one["difference"]), "number"))
    if metric["judged"]:
        verdict = one["verdict"] or ""
        found.append((verdict, None, f"verdict {CLASSES.get(verdict, '')}".strip()))
    return found


def all_metrics_table(data: Mapping[str, Any]) -> str:
    """The other metrics, or nothing when there are none."""
    shown = [one for one in data["metrics"] if one["name"] not in (*data["headline"], *TIMES)]
    if not shown:
        return ""
    heads = ["point", *(one["name"] for one in shown)]
    rows = []
    for place, point in enumerate(data["points"]):
        cells: list[Cell] = [(_titled(data, point), None, "")]
        for metric in shown:
            one = metric["cells"][place]
            cells.append((with_interval(one["mean"], one["interval"]), _key(one["mean"]), "number"))
        rows.append((_row_class(data, place), cells))
    table = _table("What is measured of every answer.", heads, [False] + [True] * len(shown), rows)
    return f'<section aria-labelledby="others">\n<h2 id="others">Other metrics</h2>\n{table}\n</section>'


def costs_table(data: Mapping[str, Any]) -> str:
    heads = ["point", "requests", "prompt tokens", "cached", "generated", "an answer", "seconds, whole point"]
    times = [one for one in data["metrics"] if one["name"] in TIMES]
    heads += [TIMES[one["name"]] for one in times]
    rows = []
    for place, point in enumerate(data["points"]):
        cost = point["cost"]
        told = cost["requests"] and not cost["unknown"]
        counts = [cost[name] if told else None for name in ("prompt_tokens", "cached_tokens", "completion_tokens")]
        asked_for = point["answered"] - point["stored"]
        each = counts[2] / asked_for if counts[2] is not None and asked_for > 0 else None
        cells: list[Cell] = [(_titled(data, point), None, ""), _count(cost["requests"]), *map(_count, counts)]
        cells += [_number(each), _number(cost["wall_s"])]
        found = [one["cells"][place] for one in times]
        cells += [(with_interval(one["mean"], one["interval"]), _key(one["mean"]), "number") for one in found]
        rows.append((_row_class(data, place), cells))
    caption = (
        "Tokens, and seconds as means over prompts. An answer: one that was not served from the store. "
        "A dash: the engine, or an interrupted run, does not tell, or there is none."
    )
    return _table(caption, heads, [False] + [True] * (len(heads) - 1), rows)


def short(data: Mapping[str, Any], key: str) -> str:
    """The last part of a key, where no other ends alike."""
    tail = key.rpartition(".")[2]
    return tail if sum(other.rpartition(".")[2] == tail for other in data["keys"]) == 1 else key


def _titled(data: Mapping[str, Any], point: Mapping[str, Any]) -> str:
    said = ", ".join(f"{short(data, key)}={value}" for key, value in point["values"].items())
    return f"{point['name']}: {said}" if said else str(point["name"] or data["about"]["pipeline"])


def _row_class(data: Mapping[str, Any], place: int) -> str:
    baseline = data["kind"] == "sweep" and place == data["baseline"]
    return " ".join(["baseline"] * baseline + ["unfinished"] * (not data["points"][place]["finished"]))


def _key(value: float | None) -> Any:
    return "" if value is None else value


def _number(value: float | None) -> Cell:
    return number(value), _key(value), "number"


def _count(value: int | None) -> Cell:
    return "–" if value is None else f"{value:,}", _key(value), "number"


def _table(
    caption: str, heads: Sequence[str], numeric: Sequence[bool], rows: Iterable[tuple[str, Sequence[Cell]]]
) -> str:
    named = zip(heads, numeric, strict=True)
    head = "".join(f'<th scope="col"{_class("number" * right)}>{escape(name)}</th>' for name, right in named)
    lines = [f"<tr{_class(kind)}>{''.join(_cells(cells))}</tr>" for kind, cells in rows]
    body = "\n".join(lines)
    return (
        f'<div class="wide"><table{_class("sortable" * (len(lines) > 1))}>\n<caption>{escape(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )


def _cells(cells: Sequence[Cell]) -> Iterable[str]:
    for place, (text, key, kind) in enumerate(cells):
        sort = "" if key is None else f' data-sort="{escape(str(key))}"'
        name = 'th scope="row"' if place == 0 else "td"
        yield f"<{name}{_class(kind)}{sort}>{escape(text)}</{name.partition(' ')[0]}>"


def _class(names: str) -> str:
    return f' class="{names}"' if names else ""
