from __future__ import annotations

from typing import Any

import pytest

from vllm_flow.core.errors import EngineError
from vllm_flow.core.sampling import Sampling
from vllm_flow.engines.transformers.vocabulary import Vocabulary
from vllm_flow.models.random_weights import build_tokenizer


class Words:
    """A tokenizer with whole words, which begin with a space or not."""

    texts = ("cat", " cat", "dog", ".", ": ", " ")

    def __len__(self) -> int:
        return len(self.texts)

    def encode(self, text: str, **how: Any) -> list[int]:
        assert how == {"add_special_tokens": False, "verbose": False}
        found = []
        while text:
            piece = max((one for one in self.texts if text.startswith(one)), key=len, default="")
            if not piece:
                return []
            found.append(self.texts.index(piece))
            text = text[len(piece) :]
        return found

    def batch_decode(self, ids: list[list[int]], **how: Any) -> list[str]:
        assert how == {"clean_up_tokenization_spaces": False}
        return ["".join(self.texts[one] for one in some) for some in ids]


def vocabulary() -> Vocabulary:
    return Vocabulary(Words(), 8, frozenset({3}))


def refused(call: Any, *given: Any) -> str:
    with pytest.raises(EngineError) as caught:
        call(*given)
    return str(caught.value)


def test_a_bad_word_is_spelled_with_a_space_before_it_and_without():
    assert vocabulary().spellings("cat") == vocabulary().spellings(" cat") == ((0,), (1,))
    assert vocabulary().spellings("catdog") == ((0, 2), (1, 2))
    assert vocabulary().spellings("dog") == ((2,), (5, 2))
    assert vocabulary().spellings(" ") == ((5,),)


def test_a_bad_word_without_tokens_is_refused():
    assert refused(vocabulary().spellings, "bird") == (
        "sampling.bad_words: 'bird' has no tokens in this model. Remove it."
    )


def test_what_has_no_logit_cannot_come_and_is_not_banned():
    small = Vocabulary(Words(), 2, frozenset({1, 3}))
    assert small.end_ids == {1}
    assert small.spellings("cat") == ((0,), (1,))
    assert refused(small.spellings, "dog") == "sampling.bad_words: 'dog' has no tokens in this model. Remove it."


def test_a_breaker_is_every_token_that_has_it_in_it():
    assert vocabulary().holding(":") == {4}
    assert vocabulary().holding(" ") == {1, 4, 5}
    assert refused(vocabulary().holding, "at d") == (
        "sampling.dry_sequence_breakers: no token of this model has 'at d' in it. Give texts that lie within one token, "
        "such as a single character."
    )


def test_the_line_break_of_a_byte_level_tokenizer_is_found():
    tokenizer = build_tokenizer()
    assert Vocabulary(tokenizer, 260, frozenset()).holding("\n") == set(tokenizer.encode("\n"))


def test_ids_beyond_the_vocabulary_are_refused():
    vocabulary().check(Sampling(logit_bias={0: 1.0, 7: 1.0}, stop_token_ids=(0, 7)))
    assert refused(vocabulary().check, Sampling(logit_bias={7: 1.0, 8: 1.0})) == (
        "sampling.logit_bias: 8 is no token of this model. Give ids from 0 to 7."
    )
    assert refused(vocabulary().check, Sampling(stop_token_ids=(9, 8))) == (
        "sampling.stop_token_ids: 9, 8 are no tokens of this model. Give ids from 0 to 7."
    )
