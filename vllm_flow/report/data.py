"""A report as plain JSON values: what `--json` prints, and what the page embeds once and draws everything from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from vllm_flow.report.judging import Measured
from vllm_flow.report.reading import Sweep, Swept
from vllm_flow.report.telling import headline

FORMAT = 1


def as_data(sweep: Sweep, measured: Sequence[Measured], sentences: Sequence[str]) -> dict[str, Any]:
    """All but the answers."""
    return {
        "format": FORMAT,
        "folder": str(sweep.folder),
        "kind": "sweep" if sweep.index else "run",
        "about": about(sweep),
        "keys": list(sweep.keys),
        "baseline": sweep.baseline,
        "headline": [one.name for one in headline(measured)],
        "points": [_point(one) for one in sweep.points],
        "metrics": [_metric(one) for one in measured],
        "sentences": list(sentences),
    }


def about(sweep: Sweep) -> dict[str, Any]:
    """What ran, when, and with which versions of what."""
    run, index = sweep.first, sweep.index
    return {
        "pipeline": run.get("pipeline") or (str(index.content.get("name", "")) if index else ""),
        "status": index.status if index else sweep.points[0].status,
        "started": index.started if index else run.get("started"),
        "finished": index.finished if index else run.get("finished"),
        "seeds": sorted({one.seed for one in sweep.points}),
        "resources": run.get("resources", {}),
        "git": run.get("git"),
        "versions": run.get("versions", {}),
        "platform": run.get("platform"),
    }


def _point(point: Swept) -> dict[str, Any]:
    return {
        "name": point.name,
        "values": dict(point.values),
        "status": point.status,
        "finished": point.finished,
        "seed": point.seed,
        "answered": point.answered,
        "stored": point.stored,
        "failed": point.failed,
        "error": point.run.get("error"),
        "cost": dataclasses.asdict(point.cost),
    }


def _metric(one: Measured) -> dict[str, Any]:
    names = ("name", "use", "higher_is_better", "configured", "judged", "method", "confidence")
    return {
        **{name: getattr(one, name) for name in names},
        "cells": [{field.name: getattr(cell, field.name) for field in dataclasses.fields(cell)} for cell in one.cells],
    }
