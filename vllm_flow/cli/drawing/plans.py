"""Plans: what a checked pipeline plans of its sampling parameters, node by node, and the words that are said of it.

The terminal's charts and the SVG file draw this one model, so that they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

from vllm_flow.core.errors import ConfigError, EngineError, Fault, listed, shown
from vllm_flow.core.moving import Axis
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.planned import Planned, planned
from vllm_flow.core.refusals import foreseen
from vllm_flow.core.sampling import in_force
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one node, or of several that plan the same."""

    nodes: str
    moving: tuple[Planned, ...]
    rest: str
    """What stays, in one line."""


WORDS: dict[Axis, str] = {
    "token": "token by token", "turn": "turn by turn", "progress": "by the progress of the task",
}  # fmt: skip


def plans(pipeline: Pipeline) -> list[Plan]:
    """Of each node that makes a schedule. Raises ConfigError where a schedule gives what its parameter cannot be."""
    options = {name: one.options for name, one in pipeline.resources.items() if one.options is not None}
    by_plan: dict[SamplingPlan, list[str]] = {}
    for one in foreseen(pipeline.graph, {"sampling": pipeline.sampling, **options}):
        plan = _plan(one.node.stage, one.known.get("sampling"), one.value)
        if plan is not None:
            inside = "" if one.path[0] == "graph" else f"{one.path[1]}/"
            by_plan.setdefault(plan, []).append(f"{inside}{one.node.name}")
    if not by_plan:
        problem = f"no node of '{pipeline.name}' makes a schedule, so no parameter is in force. Add schedule/sampling."
        raise ConfigError([Fault("graph", problem)])
    try:
        return [Plan(listed(nodes), tuple(planned(plan)), _rest(plan)) for plan, nodes in by_plan.items()]
    except EngineError as error:
        place, _, problem = str(error).partition(": ")
        raise ConfigError([Fault(place, problem)]) from error


def in_words(one: Planned) -> str:
    """How it moves, in one line."""
    if not one.follows:
        return f"{one.schedule}, {WORDS[one.axis]}"
    bounds = f"between {number(one.bounds[0])} and {number(one.bounds[1])}" if one.bounds else "without bounds"
    start = f"begins at {number(one.values[0])}, {bounds}"
    return f"{one.schedule}, {WORDS[one.axis]}: follows {listed(one.follows)}; {start}"


def ends(one: Planned) -> tuple[str, str]:
    """What stands at the ends of its axis."""
    first, last = one.ends
    return f"{one.axis} {number(first)}", number(last)


def number(value: float) -> str:
    return f"{value:.4g}"


def _plan(stage: object, sampling: object, made: object) -> SamplingPlan | None:
    """What a stage plans, by its own word, or by the schedule that it will make of a first turn."""
    if callable(own := getattr(stage, "planned", None)) and isinstance(sampling, SamplingPlan):
        found = own(sampling)
        return found if isinstance(found, SamplingPlan) else None
    return SamplingPlan(made.sampling, made.moving) if isinstance(made, Schedule) else None


def _rest(plan: SamplingPlan) -> str:
    stay = {"max_tokens": plan.numbers.max_tokens, **in_force(plan.numbers)}
    words = {name: number(one) if isinstance(one, float) else shown(one) for name, one in stay.items()}
    said = ", ".join(f"{name} {text}" for name, text in words.items() if name not in plan.moving)
    begin = "" if plan.moving else "nothing moves; "
    return f"{begin}stays: {said}; all else is neutral" if said else "all else is neutral"
