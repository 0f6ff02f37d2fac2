"""Schedules: which sampling parameters are in force at each token of this turn's answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from vllm_flow.core.options import ChangesOf
from vllm_flow.core.registry import stage
from vllm_flow.core.sampling_plan import SamplingPlan
from vllm_flow.core.schedule import Schedule
from vllm_flow.core.spec import Path
from vllm_flow.core.values import Context, Turn


@stage("schedule/sampling")
@dataclass(frozen=True)
class FromSampling:
    """The parameters under `sampling`, with those under `set` in their place."""

    set: Annotated[Mapping[str, Any], ChangesOf(SamplingPlan)] = field(default_factory=dict)
    """Values for this schedule alone: a second inference with `set: {temperature: 0}`."""

    def run(self, sampling: SamplingPlan, turn: Turn, context: Context | None = None) -> Schedule:
        return self.planned(sampling).schedule(turn, {} if context is None else context.state)

    def foresee(self, sampling: SamplingPlan) -> Schedule:
        """Of the first turn: the configuration alone determines it, so an engine can refuse it beforehand."""
        return self.planned(sampling).foreseen()

    def check(self, sampling: SamplingPlan) -> Iterator[tuple[Path, str]]:
        now = self.planned(sampling).start
        if now.min_tokens > now.max_tokens:
            own = {"min_tokens", "max_tokens"} & set(self.set)
            what = f"min_tokens {now.min_tokens} is more than max_tokens {now.max_tokens}."
            yield () if own else ("sampling", "min_tokens"), f"{what} Lower the one, or raise the other."

    def advise(self, sampling: SamplingPlan) -> Iterator[tuple[Path, str]]:
        if self.set and self.planned(sampling) == sampling:
            yield (), "its 'set' repeats what 'sampling' says. Leave it out, or set another value."

    def planned(self, sampling: SamplingPlan) -> SamplingPlan:
        """What this node plans, of which each turn's schedule is made."""
        return sampling.changed(self.set) if self.set else sampling
