"""Bandits: which of several presets is in force, learnt from how the answers before were liked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from vllm_flow.core.options import ChangesOf, OptionProblem, at_least
from vllm_flow.core.registry import stage
from vllm_flow.core.resources import EngineOptions
from vllm_flow.core.sampling import FrozenDict
from vllm_flow.core.sampling_plan import STATE, SamplingPlan
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Context, Turn
from vllm_flow.stages.infer import refused

BANDIT = "bandit"
"""The name under which a schedule keeps what was learnt, and which preset is in force."""
Changes = Annotated[Mapping[str, Any], ChangesOf(SamplingPlan)]


@dataclass(frozen=True, slots=True)
class Learnt:
    """Of each preset that was tried, how often its answers were judged, and the sum of their rewards, from 0 to 1."""

    times: Mapping[str, int] = field(default_factory=FrozenDict)
    rewards: Mapping[str, float] = field(default_factory=FrozenDict)

    def after(self, name: str, feedback: float) -> Learnt:
        """With one more answer. feedback: from -1 to 1."""
        times = {**self.times, name: self.times.get(name, 0) + 1}
        return Learnt(times, {**self.rewards, name: self.rewards.get(name, 0.0) + (feedback + 1) / 2})

    def promise(self, name: str, explore: float) -> float:
        """How good it may be: the mean reward and what is uncertain of it; infinite before it was tried."""
        if (times := self.times.get(name, 0)) == 0:
            return math.inf
        uncertain = explore * math.sqrt(math.log(sum(self.times.values())) / times)
        return self.rewards[name] / times + uncertain


@stage("schedule/bandit")
@dataclass(frozen=True)
class Bandit:
    """The sampling parameters with one of several presets in their place, the most promising by feedback (UCB1).

    Each turn takes the preset with the largest mean reward + explore sqrt(ln n / times) (Auer 2002, Machine Learning
    47), of equals the first. Feedback is that on the turn before: what the turn says, or the score that context/update
    was given; with it goes this schedule, to be remembered. A turn without feedback teaches nothing.
    """

    presets: Mapping[str, Changes]
    """By name, what each changes: `{calm: {temperature: 0.3}, wild: {temperature: {linear: {…}}}}`."""
    explore: Annotated[float, at_least(0)] = math.sqrt(2)
    """The larger, the longer presets are tried that were liked less; that of UCB1 is the square root of 2."""

    def problems(self) -> Iterator[OptionProblem]:
        if len(self.presets) < 2:
            yield OptionProblem(("presets",), "there is nothing to choose from. Name two or more.")
        for name, changes in self.presets.items():
            for parameter in SamplingPlan.option_read(changes).remembers:
                what = "remembers the turn before, which may have been another preset's"
                yield OptionProblem(
                    ("presets", name, parameter), f"it {what}. Use a number, or what remembers nothing."
                )

    def run(self, sampling: SamplingPlan, turn: Turn, context: Context | None = None) -> Schedule:
        state: Mapping[str, Any] = {} if context is None else context.state
        kept: Mapping[str, Any] = state.get(STATE, {})
        learnt, known = Learnt(), kept.get("last", {}).get(BANDIT)
        feedback = kept.get("feedback") if turn.feedback is None else turn.feedback
        if known is not None:
            learnt = Learnt(*(_still_there(known[name], self.presets) for name in ("times", "rewards")))
            if feedback is not None and known["chosen"] in self.presets:
                learnt = learnt.after(known["chosen"], feedback)
        return self._chosen(sampling, turn, state, learnt)

    def foresee(self, sampling: SamplingPlan) -> Schedule:
        """Of the first turn."""
        return self._chosen(sampling, None, {}, Learnt())

    def check(self, sampling: SamplingPlan, engine: EngineOptions | None = None) -> Iterator[tuple[Path, str]]:
        if engine is None:
            return
        for name, changes in self.presets.items():
            for path, problem in refused(sampling, sampling.changed(changes).foreseen(), engine):
                yield path, problem if path else f"the preset '{name}': {problem}"

    def planned(self, sampling: SamplingPlan) -> Mapping[str, SamplingPlan]:
        """What each preset plans, by its name."""
        return {name: sampling.changed(changes) for name, changes in self.presets.items()}

    def _chosen(self, sampling: SamplingPlan, turn: Turn | None, state: Mapping[str, Any], learnt: Learnt) -> Schedule:
        chosen = max(self.presets, key=lambda name: learnt.promise(name, self.explore))  # of equals the first
        plan = sampling.changed(self.presets[chosen])
        schedule = plan.foreseen() if turn is None else plan.schedule(turn, state)
        kept = {"chosen": chosen, "times": dict(learnt.times), "rewards": dict(learnt.rewards)}
        return dataclasses.replace(schedule, keeps=FrozenDict({**schedule.keeps, BANDIT: kept}))


def _still_there(learnt: Mapping[str, Any], presets: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in learnt.items() if name in presets}
