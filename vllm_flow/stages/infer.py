"""Inference: ask the engine. Streaming, seeds and timing are added by the runner around the engine a stage is given."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated

from vllm_flow.core.errors import EngineError, listed
from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine, EngineOptions
from vllm_flow.core.sampling import Sampling, Schedule, unsupported
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Completion, Prompt, Request


@stage("infer/generate")
@dataclass(frozen=True)
class Generate:
    """One answer from the engine."""

    logprobs: bool = False
    """Keep the log-probability of each generated token, and what the engine knows beside it."""
    top_logprobs: Annotated[int, at_least(0)] = 0
    """Keep so many of the most probable tokens at each place, too."""

    def problems(self) -> Iterator[OptionProblem]:
        yield from _alone(self.logprobs, self.top_logprobs)

    def check(self, sampling: Sampling, schedule: Schedule, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from refused(sampling, schedule, engine, self.logprobs)
        yield from _unlisted(engine, self.top_logprobs)
        if (n := schedule.at(0).n) > 1:
            place = ("sampling", "n") if n == sampling.n else ()
            problem = f"{n} answers are asked for, but infer/generate makes one. Use infer/sample (pipeline=best_of)."
            yield place, problem

    async def run(self, prompt: Prompt, schedule: Schedule, engine: Engine) -> Completion:
        if schedule.at(0).n > 1:
            raise EngineError("sampling.n: infer/generate makes one answer. Use infer/sample for several.")
        return await complete(engine, Request(prompt, schedule, 0, 0, self.logprobs, self.top_logprobs))


@stage("infer/sample")
@dataclass(frozen=True)
class Sample:
    """Several independent answers to one prompt, as many as `sampling.n` says, all in flight at once."""

    logprobs: bool = False
    """Keep the log-probability of each generated token, and what the engine knows; score/likelihood needs them."""
    top_logprobs: Annotated[int, at_least(0)] = 0
    """Keep so many of the most probable tokens at each place, too."""

    def problems(self) -> Iterator[OptionProblem]:
        yield from _alone(self.logprobs, self.top_logprobs)

    def check(self, sampling: Sampling, schedule: Schedule, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from refused(sampling, schedule, engine, self.logprobs)
        yield from _unlisted(engine, self.top_logprobs)

    async def run(self, prompt: Prompt, schedule: Schedule, engine: Engine) -> tuple[Completion, ...]:
        asked = self.logprobs, self.top_logprobs
        requests = [Request(prompt, schedule, 0, sample, *asked) for sample in range(schedule.at(0).n)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(complete(engine, request)) for request in requests]
        return tuple(task.result() for task in tasks)


def refused(
    sampling: Sampling, schedule: Schedule, engine: EngineOptions, logprobs: bool
) -> Iterator[tuple[Path, str]]:
    """What the engine cannot honour, as path and problem; an empty path stands for the node itself."""
    can, wanted = engine.capabilities(), schedule.at(0)
    for name in unsupported(wanted, can.sampling):
        own = getattr(wanted, name) != getattr(sampling, name)
        whose = f"the schedule's '{name}'" if own else "it"
        advice = f"Remove it, or choose another engine; this one takes: {listed(can.sampling)}."
        yield () if own else ("sampling", name), f"the engine cannot honour {whose}. {advice}"
    if logprobs and not can.logprobs:
        yield (), "the engine gives no log-probabilities. Remove `logprobs`, or choose another engine."


def _alone(logprobs: bool, top_logprobs: int) -> Iterator[OptionProblem]:
    if top_logprobs and not logprobs:
        problem = f"{top_logprobs} does nothing by itself. Set `logprobs: true` beside it."
        yield OptionProblem(("top_logprobs",), problem)


def _unlisted(engine: EngineOptions, top_logprobs: int) -> Iterator[tuple[Path, str]]:
    can = engine.capabilities()
    if top_logprobs and can.logprobs and not can.likelihoods:
        yield (), "the engine lists no alternatives. Remove `top_logprobs`, or choose another engine."


async def complete(engine: Engine, request: Request) -> Completion:
    """Read one stream to its end. Raises EngineError when it ends without a finish."""
    tokens = []
    async with aclosing(engine.generate(request)) as stream:
        async for token in stream:
            tokens.append(token)
    if not tokens or tokens[-1].finish is None:
        raise EngineError("the engine ended a stream without its finish. Report this to the engine's author.")
    finish = tokens[-1].finish
    logprobs = tuple(token.logprob or 0.0 for token in tokens) if request.logprobs else None
    text = "".join(token.text for token in tokens)
    known = [token.likelihood for token in tokens if token.likelihood is not None]
    likelihoods = tuple(known) if request.logprobs and len(known) == len(tokens) else None
    return Completion(text, tuple(token.id for token in tokens), finish.reason, finish.usage, logprobs, likelihoods)
