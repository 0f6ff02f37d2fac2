"""Scores: how good an answer is, `each: completion` for several; and how probable a text is for the model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from vllm_flow.core import registry
from vllm_flow.core.adapting import Adapted
from vllm_flow.core.answers import Answer
from vllm_flow.core.errors import EngineError, FlowError, shown
from vllm_flow.core.likelihoods import Scored
from vllm_flow.core.media import A_KIND
from vllm_flow.core.metric_ports import BOTH, SINGLE, metric_ports
from vllm_flow.core.option_checks import own_problems, problems
from vllm_flow.core.options import OptionProblem, build
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import Engine, EngineOptions
from vllm_flow.core.spec import Path
from vllm_flow.core.taking import score
from vllm_flow.core.values import Completion, Context, Prompt, Score, Turn, Usage
from vllm_flow.stages.asking import version_of


@stage("score/likelihood")
@dataclass(frozen=True)
class Likelihood:
    """The mean log-probability of a completion's tokens: how sure the model was, whatever the length."""

    def run(self, completion: Completion) -> Score:
        if not completion.logprobs:
            raise EngineError("the completion carries no log-probabilities. Set `logprobs: true` where it is made.")
        return Score(sum(completion.logprobs) / len(completion.logprobs))


@stage("score/given")
@dataclass(frozen=True)
class Given:
    """How probable the turn's text is for the model, token by token: by itself, or as its answer to the history."""

    def check(self, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        if not engine.capabilities().score:
            yield (), "the engine does not score texts. Choose another, such as engine=transformers."

    async def run(self, turn: Turn, engine: Engine, *, adapter: Adapted | None = None) -> Scored:
        before = Prompt(turn.history) if turn.history else None
        return await score(engine, before, _text_alone(turn), adapter=version_of(adapter))


@stage("score/continued")
@dataclass(frozen=True)
class Continued:
    """How probable the turn's text is right after the user's earlier texts, as they stand, each on lines of its own.

    None of them is a control token, as none of what is scored is.
    What the conversation's context holds of them, that is: a window makes it shorter.
    """

    def check(self, engine: EngineOptions) -> Iterator[tuple[Path, str]]:
        yield from Given().check(engine)

    async def run(self, turn: Turn, context: Context, engine: Engine, *, adapter: Adapted | None = None) -> Scored:
        texts = tuple(message for message in context.messages if message.role == "user")
        before = Prompt(texts, plain=True, as_text=True) if texts else None
        return await score(engine, before, _text_alone(turn), adapter=version_of(adapter))


def _text_alone(turn: Turn) -> str:
    """Raises EngineError for a turn that shows something beside it, of which no score would tell."""
    for one in turn.message.media:
        raise EngineError(f"the text to score: {A_KIND[one.kind]} stands beside it. Leave that out: texts are scored.")
    return turn.text


@stage("score/compared")
@dataclass(frozen=True)
class Compared:
    """The perplexity of one text in three ways, as a reply: by itself, in a longer context, and with an adapter."""

    def run(self, static: Scored, longer: Scored, adapted: Scored) -> Completion:
        ways = {"static": static, "longer context": longer, "adapted": adapted}
        text = ", ".join(f"{name} {one.perplexity:.4g}" for name, one in ways.items())
        said = f"perplexity over {len(static.token_ids)} tokens: {text}"
        return Completion(said, (), "stop", Usage(None, None))


@stage("score/metric")
@dataclass(frozen=True)
class ByMetric:
    """What a metric says of the reply, between the values that are worst and best: the feedback for a next turn.

    From -1 to 1, in a straight line, and no further. There is no score where the metric does not apply: without a
    reference, for instance, that it compares with.
    """

    metric: str
    """A metric of single answers, as `vllm-flow ls measures` names it."""
    worst: float = 0.0
    """The metric's value that is -1."""
    best: float = 1.0
    """The metric's value that is 1; below `worst` where less is better."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the metric."""

    def problems(self) -> Iterator[OptionProblem]:
        if self.worst == self.best:
            yield OptionProblem(("best",), f"it is {self.best:g}, as `worst` is. Make them differ.")
        if (entry := registry.metric.find(self.metric)) is None:
            yield OptionProblem(("metric",), registry.metric.unknown(self.metric))
            return
        others = metric_ports(entry.cls).inputs.keys() - SINGLE.keys() - BOTH.keys()
        if others:
            yield OptionProblem(("metric",), f"{self.metric} is of several answers. Choose one of a single answer.")
        found = problems(entry.cls, self.options)
        yield from (OptionProblem(("options", *one.path), one.problem) for one in found)
        if not found:
            own = own_problems(build(entry.cls, self.options))
            yield from (OptionProblem(("options", *path), problem) for path, problem in own)

    def run(self, reply: Completion, turn: Turn) -> Score | None:
        entry = registry.metric.find(self.metric)
        if entry is None:
            raise FlowError(registry.metric.unknown(self.metric))
        given = {"text": reply.text, "answer": _answer(reply, turn), "reference": turn.reference}
        made: Any = build(entry.cls, self.options)
        ports = metric_ports(entry.cls).inputs
        if any(given[name] is None for name, port in ports.items() if port.required):
            return None
        value = made.score(**{name: given[name] for name in ports})
        if value is None:
            return None
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise FlowError(f"{self.metric} gave {shown(value)}. A score is a finite number, true, false or None.")
        return Score(min(1.0, max(-1.0, 2 * (value - self.worst) / (self.best - self.worst) - 1)))


def _answer(reply: Completion, turn: Turn) -> Answer:
    return Answer(
        turn.conversation,
        turn.number,
        turn.sample,
        turn.index,
        text=reply.text,
        reference=turn.reference,
        asked=(*turn.history, turn.message),
        token_ids=reply.token_ids or None,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.usage.prompt_tokens,
        completion_tokens=reply.usage.completion_tokens,
        logprobs=reply.logprobs,
        text_ends=reply.text_ends,
    )
