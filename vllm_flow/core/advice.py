"""Advice: what a sound configuration says without effect, or at a price that is hardly meant. It warns, never refuses.

Each lint is a function of what is built. What only a stage can know of itself it says with `advise`: see refusals.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import NoneType

from vllm_flow.core.errors import Fault, shown
from vllm_flow.core.graph import Graph, Node
from vllm_flow.core.ports import fits, many, optional
from vllm_flow.core.refusals import NESTED, Foreseen, said
from vllm_flow.core.resources import Clock
from vllm_flow.core.sampling import NEUTRAL, Sampling
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.segments import Segment
from vllm_flow.core.spec import Path, RunSpec
from vllm_flow.core.values import Prompt

CUTS = ("top_p", "top_k", "min_p", "epsilon_cutoff", "typical_p", "top_n_sigma", "xtc_probability")
Advice = Iterator[tuple[Path, str]]


def advice(spec: RunSpec, graph: Graph, sampling: SamplingPlan, stages: Iterable[Foreseen]) -> tuple[Fault, ...]:
    """`stages` are those of the whole graph, nested pipelines included."""
    stages = tuple(stages)
    found = [
        *said(stages, "advise"),
        *greedy(stages, sampling.start),
        *unread(spec, graph),
        *changing(spec),
        *clocked(graph),
    ]
    origins = {path: spec.chosen.get(path) or spec.origin(path) for path, _ in found}
    return tuple(Fault(".".join(path), text, origins[path]) for path, text in dict.fromkeys(found))


def greedy(stages: Iterable[Foreseen], sampling: Sampling) -> Advice:
    """Parameters that mean nothing at temperature 0, in each schedule by itself.

    A value of `sampling` is of use as long as one schedule that takes it over draws at another temperature.
    """
    schedules = [(one, one.value.at(0)) for one in stages if isinstance(one.value, Schedule)]
    for one, now in schedules:
        if now.temperature > 0 or "temperature" in one.value.moving:
            continue
        for name in CUTS:
            value, neutral = getattr(now, name), getattr(NEUTRAL, name)
            used = any(other.temperature > 0 and getattr(other, name) == value for _, other in schedules)
            place = _written(one, now, sampling, name)
            if value != neutral and not (used and place[0] == "sampling"):
                what = f"{name} {value} changes nothing, since temperature 0 always takes the most probable token."
                yield place, f"{what} Set it to {shown(neutral)}, or raise the temperature."
        if now.n > 1:
            what = f"{now.n} answers at temperature 0 are all the same. Ask for one, or raise the temperature."
            yield _written(one, now, sampling, "n", "temperature"), what


def _written(one: Foreseen, now: Sampling, sampling: Sampling, *names: str) -> Path:
    """Where the first of these parameters that is the schedule's own is written; under `sampling` when none is."""
    for name in names:
        if getattr(now, name) != getattr(sampling, name):
            return (*one.path, "set", name) if name in getattr(one.node.stage, "set", ()) else one.path
    return ("sampling", names[0])


def unread(spec: RunSpec, graph: Graph) -> Advice:
    """What the user chose and nothing reads. What stands inside of that is not told once more."""
    told: list[Path] = []
    for path in sorted(spec.chosen, key=len):
        match path:
            case ("resources", name, *_) | ("sampling" as name, *_):
                what, right = "nothing in the graph reads", "add a stage that reads it"
            case ("model" as name, *_):
                what, right = "no resource reads", "choose an engine that runs models"
            case _:
                continue
        if name not in graph.inputs and not any(path[: len(above)] == above for above in told):
            told.append(path)
            yield path, f"{what} '{name}', so it changes nothing. Leave it out, or {right}."


def changing(spec: RunSpec) -> Advice:
    """Options of stages that a resolver makes anew."""
    for path, reference in spec.changing.items():
        what = f"{reference} is new in every run: no run repeats another, and in a prompt it defeats the prefix cache."
        yield path, f"{what} Write a fixed value, and tell what changes in the turn."


def clocked(graph: Graph, path: Path = ("graph",)) -> Advice:
    """What changes from turn to turn and stands before the history: prompts and segments that are made with a clock, or
    with a value that was, and segments of which the stage itself says so, by an option or attribute `changes`.

    Of a segment the stage's option `place` says where it stands. Of a prompt only the stage knows, so one that has
    `advise` is left to speak for itself.
    """
    names = {name for name, port in graph.inputs.items() if fits(port.type, Clock)}
    for node in graph.nodes:
        if isinstance(node.stage, Graph):
            yield from clocked(node.stage, ("pipelines", node.use.removeprefix(NESTED), "graph"))
        elif node.makes is not NoneType and fits(node.makes, optional(Segment)):
            timed = not names.isdisjoint(node.sources.values())
            if getattr(node.stage, "changes", timed) and getattr(node.stage, "place", "last") == "first":
                what = "it changes from turn to turn and stands before the history, which defeats the prefix cache."
                yield (*path, node.name), f"{what} Write `place: last`."
        elif names.isdisjoint(node.sources.values()):
            continue
        elif not _makes_prompts(node):
            names.add(node.name)
        elif not hasattr(node.stage, "advise"):
            what = "made with the clock: what changes each turn and stands before the history defeats the prefix cache."
            yield (*path, node.name), f"{what} Put it behind the history, and let {node.use} say so with `advise`."


def _makes_prompts(node: Node) -> bool:
    wanted = (optional(Prompt), optional(many(Prompt)))
    return node.makes is not NoneType and any(fits(node.makes, one) for one in wanted)
