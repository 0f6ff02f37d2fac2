"""Inference: ask the engine. Streaming, seeds and timing are added by the runner around the engine a stage is given."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, fields, replace
from itertools import accumulate

from vllm_flow.core.adapting import Adapted
from vllm_flow.core.errors import EngineError, listed
from vllm_flow.core.moving import Moving
from vllm_flow.core.ranges import RANGES
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Capabilities, Engine, EngineOptions
from vllm_flow.core.sampling import NEUTRAL, outside, unsupported
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.shape import parsed
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Completion, Prompt, Request
from vllm_flow.stages.asking import Asking

ORDERED = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty")
"""The parameters of which two or more give another distribution in another order."""

ALWAYS = ("max_tokens", "n")
"""What every engine honours: the one is asked of it, and the other makes several requests."""


@stage("infer/generate")
@dataclass(frozen=True)
class Generate(Asking):
    """One answer from the engine."""

    def check(self, sampling: SamplingPlan, schedule: Schedule, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from refused(sampling, schedule, engine)
        yield from self.unheld(engine)
        yield from one_answer(sampling, schedule, "infer/generate")

    def advise(self, schedule: Schedule, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from advised(schedule, engine)

    async def run(
        self, prompt: Prompt, schedule: Schedule, engine: Engine, *, adapter: Adapted | None = None
    ) -> Completion:
        if schedule.at(0).n > 1:
            raise EngineError("sampling.n: infer/generate makes one answer. Use infer/sample for several.")
        return await complete(engine, self.request(prompt, schedule, adapter))


@stage("infer/sample")
@dataclass(frozen=True)
class Sample(Asking):
    """Several independent answers to one prompt, as many as `sampling.n` says, all in flight at once."""

    def check(self, sampling: SamplingPlan, schedule: Schedule, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from refused(sampling, schedule, engine)
        yield from self.unheld(engine)

    def advise(self, schedule: Schedule, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from advised(schedule, engine)

    async def run(
        self, prompt: Prompt, schedule: Schedule, engine: Engine, *, adapter: Adapted | None = None
    ) -> tuple[Completion, ...]:
        first = self.request(prompt, schedule, adapter)
        requests = [replace(first, sample=sample) for sample in range(schedule.at(0).n)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(complete(engine, request)) for request in requests]
        return tuple(task.result() for task in tasks)


def one_answer(sampling: SamplingPlan, schedule: Schedule, use: str) -> Iterator[tuple[Path, str]]:
    """That a stage which makes one answer is asked for more."""
    first, moving = schedule.at(0).n, schedule.by_turn.get("n")
    if (n := first if moving is None else round(moving.most(first))) > 1:
        planned = first == sampling.start.n and moving == sampling.moving.get("n", moving)
        place = ("sampling", "n") if planned else ()
        yield place, f"{n} answers are asked for, but {use} makes one. Use infer/sample (pipeline=best_of)."


def refused(sampling: SamplingPlan, schedule: Schedule, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
    """What the engine cannot honour, as path and problem; an empty path stands for the node itself."""
    can, wanted, planned = engine.capabilities(), schedule.at(0), sampling.start
    own = {one for one in RANGES if schedule.moving.get(one) != _within(sampling, one)}
    own |= {name for name, one in schedule.by_turn.items() if one != sampling.moving.get(name)}
    own |= {one.name for one in fields(wanted) if getattr(wanted, one.name) != getattr(planned, one.name)}
    silent = [name for name in (*schedule.moving, *_later(schedule)) if name not in {*can.sampling, *ALWAYS}]
    for name in dict.fromkeys((*unsupported(wanted, can.sampling), *silent)):
        whose = f"the schedule's '{name}'" if name in own else "it"
        advice = f"Remove it, or choose another engine; this one takes: {listed(can.sampling)}."
        yield () if name in own else ("sampling", name), f"the engine cannot honour {whose}. {advice}"
    for name, problem in (*outside(wanted, can.ranges), *_immovable(schedule, can), *_beyond(schedule, can)):
        mine = f"the schedule's '{name}': {problem}"
        yield () if name in own else ("sampling", name), mine if name in own else problem


def _within(sampling: SamplingPlan, name: str) -> Moving | None:
    """The schedule of a parameter that moves within an answer."""
    found = sampling.moving.get(name)
    return found if found and found.per_token else None


def _immovable(schedule: Schedule, can: Capabilities) -> Iterator[tuple[str, str]]:
    """Name and problem of what moves within the answer, but not on this engine."""
    for name, moving in schedule.moving.items():
        if not can.moves:
            what = f"the engine takes one value for a whole answer, and '{moving.name}' moves within it."
            yield name, f"{what} Let it move `by: turn`, or choose another engine."
        elif unheard := moving.needs - can.signals:
            yield name, f"'{moving.name}' follows {listed(unheard)}, which the engine does not tell. Choose another."


def _later(schedule: Schedule) -> Iterator[str]:
    """What is in force from some turn on, as far as its schedule says what it may come to."""
    for name, moving in schedule.by_turn.items():
        if moving.bounds is None or {*moving.bounds} != {getattr(NEUTRAL, name)}:
            yield name


def _beyond(schedule: Schedule, can: Capabilities) -> Iterator[tuple[str, str]]:
    """Name and problem of what begins with a value that the engine takes, and moves to one that it does not."""
    begun = schedule.at(0)
    for name, moving in {**schedule.moving, **schedule.by_turn}.items():
        low, high = can.ranges.get(name, (-math.inf, math.inf))
        if not low <= getattr(begun, name) <= high:
            continue
        for value in filter(math.isfinite, moving.bounds or ()):
            if not low <= value <= high:
                what = f"'{moving.name}' comes to {value:g}, which is {'less' if value < low else 'more'}"
                yield name, f"{what} than the engine takes. Choose from {low:g} to {high:g}, or another engine."


def advised(schedule: Schedule, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
    """Where the engine honours the parameters, but not in all as `sampling.py` and `seeds.py` define them."""
    can, now = engine.capabilities(), schedule.at(0)
    if now.temperature > 0 and can.seeded != "exactly":
        what = {"best effort": "the engine draws with noise of its own", "no": "the engine takes no seed"}[can.seeded]
        advice = "Set sampling.temperature=0, or choose another engine, where that matters."
        yield (), f"{what}: the answer may differ in another run, and the points of a sweep share no noise. {advice}"
    ordered = [name for name in ORDERED if getattr(now, name) != getattr(NEUTRAL, name)]
    if can.sampler_order is not None and now.temperature > 0 and len(ordered) > 1:
        how = "->".join(can.sampler_order) or "an order that is not documented"
        yield (), f"the engine applies {listed(ordered)} in its own order: {how}. Set one of them alone to be sure."
    if can.penalty_window != "prompt and output" and now.repetition_penalty != NEUTRAL.repetition_penalty:
        where = "the output" if can.penalty_window == "output" else f"the newest {can.penalty_window} tokens"
        yield (), f"the engine's repetition_penalty looks at {where} alone. Set it to 1, or choose another engine."


async def complete(engine: Engine, request: Request) -> Completion:
    """Read one stream to its end. Raises EngineError when it ends without a finish."""
    tokens = []
    async with aclosing(engine.generate(request)) as stream:
        async for token in stream:
            tokens.append(token)
    if not tokens or tokens[-1].finish is None:
        raise EngineError("the engine ended a stream without its finish. Report this to the engine's author.")
    finish = tokens[-1].finish
    logprobs = tuple(token.logprob for token in tokens if token.logprob is not None) if request.logprobs else None
    text = "".join(token.text for token in tokens)
    ids = tuple(token.id for token in tokens if token.id is not None)
    known = [token.likelihood for token in tokens if token.likelihood is not None]
    likelihoods = tuple(known) if request.logprobs and len(known) == len(tokens) else None
    ends = tuple(accumulate(len(token.text) for token in tokens)) if logprobs and len(logprobs) == len(tokens) else None
    held = None if request.shape is None else parsed(request.shape, text, finish.reason == "length")
    return Completion(text, ids, finish.reason, finish.usage, logprobs, likelihoods, ends, held)
