"""Signals: what the schedules of some rows want to be told, of those rows alone, as `core/moving.py` names them.

The entropy is of the token that is about to be drawn, so it is looked at before; the surprise is of the token that was
drawn, and told before the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from vllm_flow.core.moving import Signal
from vllm_flow.core.sampling import Sampling
from vllm_flow.engines.transformers.likelihood import entropies, weighed
from vllm_flow.engines.transformers.row import Row
from vllm_flow.engines.transformers.sampler import processed

NONE: Mapping[Signal, float] = {}


def heard(rows: Sequence[Row], logits: Tensor) -> list[Mapping[Signal, float]]:
    """For each row what its schedule needs, as far as it is known. logits: the model's own, [rows, vocab]."""
    found = [dict(row.heard) if row.course.needs else NONE for row in rows]
    asked = [place for place, row in enumerate(rows) if "entropy" in row.course.needs]
    if asked:
        some = logits if len(asked) == len(rows) else logits[asked]
        for place, entropy in zip(asked, entropies(some.cpu().float()).tolist(), strict=True):
            found[place] = {**found[place], "entropy": entropy}
    return found


def keep_surprises(rows: Sequence[Row], samplings: Sequence[Sampling], marked: Tensor, chosen: Tensor) -> None:
    """Of the rows that need it: how improbable the token was that is chosen. marked: see `processed`, [rows, vocab]."""
    asked = [place for place, row in enumerate(rows) if "surprise" in row.course.needs]
    if not asked:
        return
    who, how = [rows[place] for place in asked], [samplings[place] for place in asked]
    seeds, indices = [row.job.request.seed for row in who], [len(row.output) for row in who]
    logs, _ = weighed(processed(marked[asked], how, seeds, indices), chosen[asked][:, None])
    for row, log in zip(who, logs[:, 0].tolist(), strict=True):
        row.heard = {"surprise": max(0.0, -log)}
