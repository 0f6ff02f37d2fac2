"""Plans: what a checked pipeline plans of its sampling parameters, node by node, and the words that are said of it.

The terminal's charts and the SVG file draw this one model, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vllm_flow.core.errors import ConfigError, EngineError, Fault, listed, shown
from vllm_flow.core.moving import Axis
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.planned import NodePlan, Planned, planned, plans_of
from vllm_flow.core.sampling import in_force
from vllm_flow.core.sampling_plan import SamplingPlan


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
    found = list(plans_of(pipeline))
    if not found:
        problem = f"no node of '{pipeline.name}' makes a schedule, so no parameter is in force. Add schedule/sampling."
        raise ConfigError([Fault("graph", problem)])
    different: list[SamplingPlan] = []  # a schedule of one's own need not have a hash
    for one in found:
        if one.plan not in different:
            different.append(one.plan)
    try:
        return [Plan(listed(_names(found, plan)), tuple(planned(plan)), _rest(plan)) for plan in different]
    except EngineError as error:
        place, _, problem = str(error).partition(": ")
        raise ConfigError([Fault(place, problem)]) from error


def _names(found: Iterable[NodePlan], plan: SamplingPlan) -> Iterator[str]:
    for one in found:
        if one.plan == plan:
            inside = "" if one.path[0] == "graph" else f"{one.path[1]}/"
            yield f"{inside}{one.path[-1]}{'' if one.preset is None else f' ({one.preset})'}"


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


def _rest(plan: SamplingPlan) -> str:
    stay = {"max_tokens": plan.numbers.max_tokens, **in_force(plan.numbers)}
    words = {name: number(one) if isinstance(one, float) else shown(one) for name, one in stay.items()}
    said = ", ".join(f"{name} {text}" for name, text in words.items() if name not in plan.moving)
    begin = "" if plan.moving else "nothing moves; "
    return f"{begin}stays: {said}; all else is neutral" if said else "all else is neutral"
