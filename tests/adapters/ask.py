"""Asks the arithmetic of one backend at many points: `ask.py hf|flow MODEL_FOLDER TASK_FOLDER TASK[,TASK] FIRST:LAST OUT`.

`hf` is lm-eval's own backend, one point after the other with the model loaded once; `flow` is ours, all points at once.
Each runs in a process of its own, for threads of one torch slow those of another. OUT is JSON: the seconds without
loading, and for each point, of POINTS from FIRST up to LAST, the results and samples.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager

from tests.adapters.arithmetic import POINTS

BATCH = 32
"""Of `hf`; ours batches by itself."""
QUIET: dict[str, Any] = {"bootstrap_iters": 0, "log_samples": True}


def hf(folder: str, tasks: list[str], points: list[dict[str, Any]], manager: TaskManager) -> tuple[float, list[Any]]:
    from lm_eval.models.huggingface import HFLM

    model = HFLM(folder, dtype="float32", device="cpu", batch_size=BATCH)
    began = time.perf_counter()
    found = [
        lm_eval.simple_evaluate(model, tasks=tasks, gen_kwargs=point, task_manager=manager, **QUIET) for point in points
    ]
    return time.perf_counter() - began, found


def flow(folder: str, tasks: list[str], points: list[dict[str, Any]], manager: TaskManager) -> tuple[float, list[Any]]:
    import vllm_flow
    from vllm_flow.adapters.lm_eval import FlowLM, evaluate_points

    words = [f"model.path={folder}", "engine.dtype=float32", "engine.device=cpu", "sampling=greedy", "concurrency=1000"]
    with vllm_flow.load("complete", words, record=False) as session:
        session.open()
        began = time.perf_counter()
        found = evaluate_points(FlowLM(session), tasks, points, task_manager=manager, **QUIET)
        return time.perf_counter() - began, found


def main() -> None:
    backend, model, place, tasks, which, out = sys.argv[1:]
    first, last = map(int, which.split(":"))
    manager = TaskManager(include_path=place, include_defaults=False)
    ask = {"hf": hf, "flow": flow}[backend]
    seconds, found = ask(model, tasks.split(","), POINTS[first:last], manager)
    points = [{"results": one["results"], "samples": one["samples"]} for one in found]
    Path(out).write_text(json.dumps({"seconds": seconds, "points": points}, default=str), encoding="utf-8")


if __name__ == "__main__":
    main()
