"""A sweep from Python: what `vllm-flow -m` does, with the same folders and records, and nothing printed."""

from __future__ import annotations

from collections.abc import Sequence

from vllm_flow.config import run_jobs
from vllm_flow.core.engines import Engines
from vllm_flow.core.events import Observer
from vllm_flow.core.record import Record
from vllm_flow.sweep.fused import Fused
from vllm_flow.sweep.points import Outcome, Point
from vllm_flow.sweep.settings import Sweep


class _Unwatched:
    def begin(self, point: Point, record: Record) -> Sequence[Observer]:
        return ()

    def end(self, outcome: Outcome) -> None:
        pass


def run_sweep(
    pipeline: str = "dialogue", overrides: str | Sequence[str] = (), *, engines: Engines | None = None
) -> list[Outcome]:
    """Run every point of a sweep at once: `run_sweep("story", ["sampling.temperature=0.2,0.7"])`.

    Overrides are those of `vllm-flow -m`, `sweep.…` among them. What became of each point is in its outcome, with the
    folder of its record; one that fails is told there, too. With the same `engines` a model stays loaded. Raises
    ConfigError with every fault of every point before anything runs. Blocks; not from a running event loop.
    """
    words = [overrides] if isinstance(overrides, str) else list(overrides)
    shared = engines or Engines()

    def work(points: Sequence[Point], sweep: Sweep) -> list[Outcome]:
        return Fused(shared, _Unwatched(), sweep.fail_fast).run(points)

    try:
        return run_jobs(["-m", f"pipeline={pipeline}", *words], work)
    finally:
        if engines is None:
            shared.close()
