"""Sampling parameters: how one token is drawn.

The semantics are those of every engine here, in float32 and in this order, of which each step sees what the ones before
left: logit and end bias, bad words, min tokens → repetition, presence and frequency penalty → DRY → temperature →
top-nσ → epsilon → min-p → top-k → top-p → typical → XTC. After each cut the probabilities are renormalised; ties are
broken by (logit descending, token id ascending). Top-nσ looks at the logits, so it makes no difference that the
temperature comes first.
At temperature 0 nothing is cut, and what comes before holds. At least one token is always left by the cuts; where bans
leave none, the answer fails. An engine that cannot do so says it in its capabilities.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from vllm_flow.core.options import above, above_up_to, at_least, between, not_empty

K = TypeVar("K")
V_co = TypeVar("V_co", covariant=True)


class FrozenDict(Mapping[K, V_co]):
    """A mapping that cannot change, so that what holds it has a hash."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V_co] | None = None) -> None:
        self._items = dict(items or {})

    def __getitem__(self, key: K) -> V_co:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


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
    epsilon_cutoff: Annotated[float, between(0, 1)] = 0.0
    """Drop tokens whose probability is below this, but never the most probable ones (Hewitt 2022, arXiv:2210.15191)."""
    typical_p: Annotated[float, above_up_to(0, 1)] = 1.0
    """Keep the fewest tokens nearest to the expected surprise that add up to this (Meister 2022, arXiv:2202.00666).

    A token's surprise is its negative log-probability, and the expected one is the entropy; of equally near tokens the
    more probable comes first.
    """
    top_n_sigma: Annotated[float, above(0)] | None = None
    """Keep logits at most this many standard deviations below the largest; null is off (Tang 2024, arXiv:2411.07641).

    It is the deviation of the whole population of finite logits, bias and penalties included.
    """
    xtc_probability: Annotated[float, between(0, 1)] = 0.0
    """How often, token by token, the top choices are excluded (p-e-w 2024, text-generation-webui #6335)."""
    xtc_threshold: Annotated[float, between(0, 0.5)] = 0.1
    """From which probability on a token is a top choice; of those that are, the least probable one stays."""
    repetition_penalty: Annotated[float, above(0)] = 1.0
    """Divides positive and multiplies negative logits of tokens in prompt or output (Keskar 2019, arXiv:1909.05858)."""
    presence_penalty: float = 0.0
    """Subtracted once from the logits of tokens already in the output."""
    frequency_penalty: float = 0.0
    """Subtracted once per occurrence from the logits of tokens already in the output."""
    dry_multiplier: Annotated[float, at_least(0)] = 0.0
    """How strongly repeated sequences are penalised; 0 is off (DRY: p-e-w 2024, text-generation-webui #5677).

    From the logit of a token that would go on with a repetition, `multiplier * base ** (length - allowed_length)` is
    subtracted, where length is that of the longest end of prompt and output that stood there before this token earlier.
    """
    dry_base: Annotated[float, at_least(1)] = 1.75
    """By what DRY's penalty grows with each further token of a repetition."""
    dry_allowed_length: Annotated[int, at_least(1)] = 2
    """How many tokens may be repeated before DRY penalises the next."""
    dry_sequence_breakers: tuple[Annotated[str, not_empty()], ...] = ("\n", ":", '"', "*")
    """Texts that end a sequence: DRY penalises no token that has one of them in it, and looks at none before it."""
    logit_bias: Mapping[Annotated[int, at_least(0)], Annotated[float, between(-100, 100)]] = FrozenDict()
    """Added to logits: token id to bias, as OpenAI has it. At -100 a token hardly ever comes, at 100 nearly always."""
    end_bias: Annotated[float, between(-100, 100)] = 0.0
    """Added to the logits of all tokens that would end the answer: below 0 it gets longer, above 0 shorter."""
    bad_words: tuple[Annotated[str, not_empty()], ...] = ()
    """Texts that are not generated, in the tokens that the model's tokenizer has for them.

    That is with a space before and without one. The last of several tokens is banned where the output ends with the
    others, as in vLLM; the same text in other tokens is not.
    """
    max_tokens: Annotated[int, at_least(1)] = 256
    """At most this many generated tokens."""
    min_tokens: Annotated[int, at_least(0)] = 0
    """Nothing ends the answer before this many tokens are generated but `max_tokens`: no token that would can be drawn.

    A stop string counts, as in vLLM, if a later token completes it; one that is complete before is text like any other.
    """
    stop: tuple[Annotated[str, not_empty()], ...] = ()
    """Texts that end the answer; they are not part of it."""
    stop_token_ids: tuple[Annotated[int, at_least(0)], ...] = ()
    """Tokens that end the answer, beside the model's own ends of sequence; what they say is not part of its text."""
    n: Annotated[int, at_least(1)] = 1
    """How many independent answers; more than one needs a stage that makes several, such as infer/sample."""

    def __post_init__(self) -> None:
        if not isinstance(self.logit_bias, FrozenDict):
            object.__setattr__(self, "logit_bias", FrozenDict(self.logit_bias))


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
