"""Sampling parameters, and the schedule that says which values are in force at each token.

The semantics are those of every engine here: float32; penalties → temperature → min-p → top-k → top-p, each cut
renormalised, ties by (logit descending, token id ascending). An engine that cannot do so says it in its capabilities.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Annotated, Any

from vllm_flow.core.options import above, above_up_to, at_least, between, not_empty


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. The defaults leave the model's distribution as it is."""

    temperature: Annotated[float, at_least(0)] = 1.0
    """Divides the logits; 0 is greedy: always the most probable token."""
    top_p: Annotated[float, above_up_to(0, 1)] = 1.0
    """Keep the fewest tokens whose probabilities add up to this (Holtzman 2019, arXiv:1904.09751)."""
    top_k: Annotated[int, at_least(1)] | None = None
    """Keep this many most probable tokens; null keeps all."""
    min_p: Annotated[float, between(0, 1)] = 0.0
    """Drop tokens below this share of the most probable one's probability (Nguyen 2024, arXiv:2407.01082)."""
    repetition_penalty: Annotated[float, above(0)] = 1.0
    """Divides positive and multiplies negative logits of tokens in prompt or output (Keskar 2019, arXiv:1909.05858)."""
    presence_penalty: float = 0.0
    """Subtracted once from the logits of tokens already in the output."""
    frequency_penalty: float = 0.0
    """Subtracted once per occurrence from the logits of tokens already in the output."""
    max_tokens: Annotated[int, at_least(1)] = 256
    """At most this many generated tokens."""
    stop: tuple[Annotated[str, not_empty()], ...] = ()
    """Texts that end the answer; they are not part of it."""
    n: Annotated[int, at_least(1)] = 1
    """How many independent answers; more than one needs a stage that makes several, such as infer/sample."""


NEUTRAL = Sampling()


def in_force(sampling: Sampling) -> dict[str, Any]:
    """The parameters whose value differs from the neutral one, by name."""
    values = {field.name: getattr(sampling, field.name) for field in dataclasses.fields(Sampling)}
    return {name: value for name, value in values.items() if value != getattr(NEUTRAL, name)}


def unsupported(sampling: Sampling, honoured: Iterable[str]) -> list[str]:
    """The parameters in force that are not among `honoured`, in their declared order."""
    kept = set(honoured) | {"max_tokens", "n"}
    return [name for name in in_force(sampling) if name not in kept]


def outside(sampling: Sampling, ranges: Mapping[str, tuple[float, float]]) -> Iterator[tuple[str, str]]:
    """Name and problem of the parameters in force that lie outside of what an engine takes of them."""
    for name, value in in_force(sampling).items():
        low, high = ranges.get(name, (-math.inf, math.inf))
        several = isinstance(value, Sized)
        if not low <= (len(value) if several else value) <= high:
            what = f"{len(value)} are more" if several else f"{value} is {'less' if value < low else 'more'}"
            right = f"at most {high:g}" if several else f"from {low:g} to {high:g}"
            yield name, f"{what} than the engine takes. Choose {right}, or another engine."


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which sampling parameters are in force at each generated token of one answer."""

    sampling: Sampling

    def at(self, token: int) -> Sampling:
        """The values for the generated token with this index, from 0."""
        return self.sampling
