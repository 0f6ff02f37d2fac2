"""How probable tokens are for a model: those that it wrote, and those of a text that it is given."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could have come at one place of an answer."""

    id: int
    text: str
    """What it would say by itself; empty for one that ends an answer or only steers the model."""
    raw_logprob: float
    processed_logprob: float
    """-inf for one that a cut has removed; in JSON null."""


@dataclass(frozen=True, slots=True)
class TokenLikelihood:
    """How a generated token stood among the others, beside its raw log-probability. In nats.

    *raw* is the distribution of the unmodified logits. *processed* is the one that the token was really drawn from:
    after penalties, temperature and cuts, renormalised. Greedy draws from a single token, whose log-probability is 0,
    and so is the entropy.
    """

    processed_logprob: float
    raw_entropy: float
    processed_entropy: float
    alternatives: tuple[Alternative, ...] = ()
    """The raw distribution's most probable tokens, as many as were asked for, by (logit descending, id ascending).

    The token that was drawn is among them if it is one of them; a token of probability 0 never is.
    """


@dataclass(frozen=True, slots=True)
class Scored:
    """How probable a given text is for a model, token by token, under the unmodified logits."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Natural log of each token's probability after all those before it; -inf for a probability of 0, in JSON null."""
    entropies: tuple[float, ...]
    """Of the distribution that each token was one of, in nats: what its surprise, -logprob, would be on average."""
    greedy: tuple[bool, ...]
    """Whether each token was the most probable one at its place, of equals the one with the lowest id."""
    prompt_tokens: int
    """How many tokens were read before the first that is scored.

    Those of the prompt; without one the token that begins a text; of a model that has no such token the text's own
    first, which has nothing before it and is not among `token_ids`.
    """

    @property
    def logprob(self) -> float:
        """Of the text as a whole."""
        return math.fsum(self.logprobs)

    @property
    def perplexity(self) -> float:
        """Among how many equally probable tokens the model might as well have chosen, on average; 1 when certain."""
        try:
            return math.exp(-self.logprob / len(self.logprobs))
        except OverflowError:
            return math.inf

    @property
    def text(self) -> str:
        """What a run shows of it."""
        return f"perplexity {self.perplexity:.4g} over {len(self.token_ids)} tokens"
