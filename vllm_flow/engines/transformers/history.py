"""History: what stands before the next token of one answer, as far as the sampler looks back.

It reads the row's own lists, and counts nothing before a parameter that is in force asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from vllm_flow.core.sampling import Sampling
from vllm_flow.engines.transformers.repeats import repeats
from vllm_flow.engines.transformers.vocabulary import Vocabulary

MOST = 1e30
"""Where the penalty of DRY stops growing: far beyond all logits, and finite in float32."""


class Seen:
    """Which tokens stand in the prompt or the output of one answer, and how often in the output."""

    def __init__(self, prompt: Sequence[int], max_tokens: int) -> None:
        self._places = {token_id: place for place, token_id in enumerate(dict.fromkeys(prompt))}
        room = len(self._places) + max_tokens
        self._ids = torch.empty(room, dtype=torch.int64)
        self._ids[: len(self._places)] = torch.tensor(list(self._places), dtype=torch.int64)
        self._counts = torch.zeros(room)

    def add(self, token_id: int) -> None:
        """One more token of the output."""
        place = self._places.setdefault(token_id, len(self._places))
        self._ids[place] = token_id
        self._counts[place] += 1

    @property
    def ids(self) -> Tensor:
        """int64 [tokens], each once."""
        return self._ids[: len(self._places)]

    @property
    def counts(self) -> Tensor:
        """float32 [tokens]: how often each stands in the output."""
        return self._counts[: len(self._places)]


class History:
    """Of one answer. `prompt` and `output` are lists that somebody else writes; `limits` are what ends the answer."""

    def __init__(self, prompt: list[int], output: list[int], vocabulary: Vocabulary, limits: Sampling) -> None:
        self._prompt = prompt
        self._output = output
        self._vocabulary = vocabulary
        self._limits = limits
        self._seen: Seen | None = None
        self._counted = 0
        self._understood: Sampling | None = None
        self._bad_words: list[tuple[int, ...]] = []
        self._breakers: frozenset[int] = frozenset()

    def understand(self, sampling: Sampling) -> None:
        """What the parameters that come into force now say in this model's tokens. Raises EngineError if nothing."""
        if sampling is self._understood:
            return
        self._vocabulary.check(sampling)
        self._bad_words = [ids for word in sampling.bad_words for ids in self._vocabulary.spellings(word)]
        breakers = sampling.dry_sequence_breakers if sampling.dry_multiplier > 0 else ()
        self._breakers = frozenset().union(*map(self._vocabulary.holding, breakers))
        self._understood = sampling

    @property
    def must_go_on(self) -> bool:
        """Whether nothing but `max_tokens` may end the answer yet."""
        return len(self._output) < self._limits.min_tokens

    @property
    def seen(self) -> Seen:
        if self._seen is None:
            self._seen = Seen(self._prompt, self._limits.max_tokens)
        for token_id in self._output[self._counted :]:
            self._seen.add(token_id)
        self._counted = len(self._output)
        return self._seen

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end the answer."""
        return self._vocabulary.end_ids.union(self._limits.stop_token_ids)

    def banned(self) -> Iterator[int]:
        """Tokens that must not come next: those that end an answer before its time, and that complete a bad word."""
        if self.must_go_on:
            yield from self.ends
        for *before, last in self._bad_words:
            if not before or self._output[-len(before) :] == before:
                yield last

    def repetitions(self, sampling: Sampling) -> dict[int, float]:
        """DRY's penalty of each token that has one."""
        found = repeats(self._prompt + self._output, self._breakers)
        beyond = {token_id: length - sampling.dry_allowed_length for token_id, length in found.items()}
        return {token_id: _penalty(sampling, more) for token_id, more in beyond.items() if more >= 0}


def _penalty(sampling: Sampling, more: int) -> float:
    try:
        return min(MOST, sampling.dry_multiplier * sampling.dry_base**more)
    except OverflowError:
        return MOST
