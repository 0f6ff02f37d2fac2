"""`vllm-flow check --plan [-m] key=value …`: what a run or a sweep would do, and what it would take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vllm_flow.cli.words import table
from vllm_flow.sweep.index import varied
from vllm_flow.sweep.plan import GroupPlan, Plan, planned
from vllm_flow.sweep.points import Point

UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B"))


def show_plan(points: Sequence[Point]) -> None:
    """Print the plan of these points; loads no weights."""
    plan = planned(points, Path("outputs"))
    titles = [" ".join(f"{key}={value}" for key, value in one.items()) for one in varied([p.overrides for p in points])]
    rows = [(str(number), title, why) for number, (title, why) in enumerate(zip(titles, plan.why, strict=True))]
    table(rows, ("point", "", "why it will run"))
    for number, group in enumerate(plan.groups):
        print(f"\n{_name(number, group, len(plan.groups))}")
        for line in _lines(group, plan):
            print(f"  {line}")


def _name(number: int, group: GroupPlan, groups: int) -> str:
    engine = group.engine
    model = engine.get("model")
    called = ", ".join(
        [str(engine.get("use", "no engine")), *([str(model["name"])] if isinstance(model, dict) else [])]
    )
    which = "" if groups == 1 else f", points {', '.join(map(str, group.points))}"
    return f"group {number + 1} of {groups}: {called}{which}"


def _lines(group: GroupPlan, plan: Plan) -> list[str]:
    found, prompts = [], group.prompts
    if prompts.turns is None:
        found.append(f"turns: unknown; {prompts.why_unknown}")
    else:
        bad = f", and {prompts.bad_rows} rows that cannot be read" if prompts.bad_rows else ""
        found.append(f"turns: {prompts.turns} at each of {len(group.points)} points, {group.turns} in all{bad}")
    if prompts.tokens is None:
        found.append(f"prompt tokens: unknown; {prompts.why_unknown}" if prompts.turns is not None else "")
    else:
        about = "about " if prompts.reckoned else ""
        found.append(
            f"prompt tokens: {about}{prompts.tokens} at each point, the longest {prompts.longest}; answers that later"
            " turns read are not counted; what points share is read once"
        )
    if group.context_overflow:
        found.append(f"does not fit: {group.context_overflow} prompts leave no room for sampling.max_tokens")
    if prompts.unread:
        found.append(f"not read: {prompts.unread} prompts; the first: {prompts.why_unread}")
    found.append(_memory(group, plan))
    if group.seconds is None:
        found.append("time: unknown; no finished run here had this engine")
    elif group.earlier is not None:
        said = f"{group.earlier.tokens_per_s:.0f} tokens a second in {group.earlier.runs} earlier runs"
        found.append(f"time: about {_time(group.seconds)}, from {said}; load apart")
    return [line for line in found if line]


def _memory(group: GroupPlan, plan: Plan) -> str:
    if group.weight_bytes is None:
        return "memory: unknown"
    parts = [f"weights {_size(group.weight_bytes)}"]
    total = group.weight_bytes + (group.kv_bytes or 0)
    if group.kv_bytes is not None:
        parts.append(f"KV cache at most {_size(group.kv_bytes)}")
    if plan.memory_bytes is None:
        return f"memory: {', '.join(parts)}"
    fits = "fits" if total < plan.memory_bytes else "does not fit"
    return f"memory: {', '.join(parts)}: {fits} into the {_size(plan.memory_bytes)} that are free"


def _size(count: int) -> str:
    for size, unit in UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}" if size > 1 else f"{count} B"
    return "0 B"


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
