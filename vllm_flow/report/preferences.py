"""What a judge prefers, as sentences of a report, from the `judge.json` that `vllm-flow judge` has left in the sweep.

An opinion, so it stands behind what was measured and is never called better. One on other answers is not repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from vllm_flow.core.errors import RecordError
from vllm_flow.judge.results import digest_of, read_data
from vllm_flow.report.reading import Sweep


def preferences(sweep: Sweep, shown: str) -> list[str]:
    """One sentence for each verdict, and how far to trust them; `shown` is the folder as a person types it."""
    try:
        data = read_data(sweep.folder)
    except RecordError as error:
        return [str(error)]
    if data is None:
        return []
    if any(digest_of(sweep.folder / name) != digest for name, digest in data["answers"].items()):
        return [f"judge.json: it is about other answers than these. Judge them: vllm-flow judge {shown}"]
    return [*_verdicts(data), *filter(None, [data["trust"]])]


def _verdicts(data: Mapping[str, Any]) -> Iterator[str]:
    resources = [one.get("model") for one in data["judge"].get("resources", {}).values() if isinstance(one, Mapping)]
    who = ", ".join([str(data["judge"].get("pipeline", "no model")), *(str(one) for one in resources if one)])
    by_verdict: dict[str, list[str]] = {}
    for point in data["points"]:
        by_verdict.setdefault(point["verdict"], []).append(_share(point))
    for verdict, points in by_verdict.items():
        yield f"A judge ({who}), of the answers beside those of the baseline: {verdict}: {'; '.join(points)}."


def _share(point: Mapping[str, Any]) -> str:
    if point["preference"] is None:
        return f"point {point['name']}"
    limits = point["interval"]
    interval = f" [{', '.join(f'{one:.0%}' for one in limits)}]" if limits else ""
    return f"point {point['name']} in {point['preference']:.0%}{interval}"
