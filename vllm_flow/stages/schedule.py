"""Schedules: which sampling parameters are in force at each token of this turn's answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from vllm_flow.core.options import ChangesOf
from vllm_flow.core.registry import stage
from vllm_flow.core.sampling import Sampling, Schedule
from vllm_flow.core.spec import Path


@stage("schedule/sampling")
@dataclass(frozen=True)
class FromSampling:
    """The parameters under `sampling`, with those under `set` in their place."""

    set: Annotated[Mapping[str, Any], ChangesOf(Sampling)] = field(default_factory=dict)
    """Values for this schedule alone: a second inference with `set: {temperature: 0}`."""

    def run(self, sampling: Sampling) -> Schedule:
        return Schedule(dataclasses.replace(sampling, **self.set))

    def foresee(self, sampling: Sampling) -> Schedule:
        """The configuration alone determines it, so an engine can refuse it before anything loads."""
        return self.run(sampling)

    def check(self, sampling: Sampling) -> Iterator[tuple[Path, str]]:
        now = self.run(sampling).sampling
        if now.min_tokens > now.max_tokens:
            own = {"min_tokens", "max_tokens"} & set(self.set)
            what = f"min_tokens {now.min_tokens} is more than max_tokens {now.max_tokens}."
            yield () if own else ("sampling", "min_tokens"), f"{what} Lower the one, or raise the other."

    def advise(self, sampling: Sampling) -> Iterator[tuple[Path, str]]:
        if self.set and self.run(sampling) == Schedule(sampling):
            yield (), "its 'set' repeats what 'sampling' says. Leave it out, or set another value."
