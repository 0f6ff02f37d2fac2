"""The vocabulary: what texts and token ids in sampling parameters mean to one model.

Found out once for each text, and refused in words where it means nothing.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from vllm_flow.core.errors import EngineError
from vllm_flow.core.sampling import Sampling


class Vocabulary:
    """`size` is how many logits the model has: some of their ids may have no token, and some tokens no logit."""

    def __init__(self, tokenizer: Any, size: int, end_ids: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self.size = size
        self.end_ids = frozenset(one for one in end_ids if one < size)
        self._spellings: dict[str, tuple[tuple[int, ...], ...]] = {}
        self._holding: dict[str, frozenset[int]] = {}

    def check(self, sampling: Sampling) -> None:
        """Raises EngineError for token ids in it that this model has not."""
        for name, ids in (("logit_bias", sampling.logit_bias), ("stop_token_ids", sampling.stop_token_ids)):
            strange = [str(one) for one in ids if one >= self.size]
            if strange:
                is_no = f"{strange[0]} is no token" if len(strange) == 1 else f"{', '.join(strange)} are no tokens"
                raise EngineError(f"sampling.{name}: {is_no} of this model. Give ids from 0 to {self.size - 1}.")

    def spellings(self, word: str) -> tuple[tuple[int, ...], ...]:
        """The tokens of a bad word as it begins a text and as it follows a space. Raises EngineError if it has none."""
        if word not in self._spellings:
            bare = word.lstrip()
            texts = (word,) if not bare else (bare, f" {bare}")
            found = [tuple(self._tokenizer.encode(one, add_special_tokens=False, verbose=False)) for one in texts]
            self._spellings[word] = tuple(dict.fromkeys(one for one in found if one and max(one) < self.size))
        if not self._spellings[word]:
            raise EngineError(f"sampling.bad_words: {word!r} has no tokens in this model. Remove it.")
        return self._spellings[word]

    def holding(self, text: str) -> frozenset[int]:
        """The tokens that have a sequence breaker in them. Raises EngineError if there are none."""
        if text not in self._holding:
            self._holding[text] = frozenset(place for place, token in enumerate(self._texts) if text in token)
        if not self._holding[text]:
            raise EngineError(
                f"sampling.dry_sequence_breakers: no token of this model has {text!r} in it. "
                "Give texts that lie within one token, such as a single character."
            )
        return self._holding[text]

    @cached_property
    def _texts(self) -> list[str]:
        ids = [[token_id] for token_id in range(len(self._tokenizer))]
        return [str(one) for one in self._tokenizer.batch_decode(ids, clean_up_tokenization_spaces=False)]
