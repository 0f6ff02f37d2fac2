"""What is measured of every answer, and chrF and perplexity: against values computed by hand and by sacrebleu itself."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from vllm_flow.core.answers import Answer
from vllm_flow.core.values import FinishReason
from vllm_flow.metrics import (
    Chrf,
    Distinct,
    Repetition,
    characters,
    first_token,
    perplexity,
    tokens,
    truncated,
    whole,
    words,
)
from vllm_flow.testing import check_metric

FAILED = Answer("c", 1)
SAID = Answer(
    "c", 1, text="a b\nc", token_ids=(1, 2, 3), finish_reason="length", completion_tokens=3, ttft_s=0.5, seconds=2.0
)


def answer(*ids: int, text: str = "") -> Answer:
    return replace(SAID, token_ids=ids, text=text)


def test_length_and_latency_are_those_of_the_record() -> None:
    assert [check_metric(one, text="a b\nc é") for one in (words, characters)] == [4, 7]
    of_answer = (tokens, truncated, first_token, whole)
    assert [check_metric(one, answer=SAID) for one in of_answer] == [3, True, 0.5, 2.0]
    assert [check_metric(one, answer=FAILED) for one in of_answer] == [None] * 4
    reasons: tuple[FinishReason, ...] = ("stop", "length", "interrupted")
    assert [truncated(replace(SAID, finish_reason=one)) for one in reasons] == [False, True, False]


def test_repetition_is_the_share_of_n_grams_that_came_before() -> None:
    # 4-grams of 1 2 3 4 1 2 3 4 1: 1234 2341 3412 4123 1234 2341: 4 different ones of 6
    assert check_metric(Repetition(), answer=answer(1, 2, 3, 4, 1, 2, 3, 4, 1)) == pytest.approx(1 - 4 / 6)
    assert Repetition().score(answer(1, 2, 3, 4, 5)) == 0
    assert Repetition(n=1).score(answer(7, 7, 7, 7)) == 0.75
    assert Repetition(n=2, unit="words").score(answer(text="la la la la")) == pytest.approx(2 / 3)


def test_repetition_does_not_apply_to_what_is_too_short_or_not_known() -> None:
    assert [Repetition().score(one) for one in (answer(1, 2, 3), answer(), FAILED)] == [None] * 3
    assert Repetition(unit="words").score(FAILED) is None


def test_perplexity_is_that_of_the_recorded_raw_log_probabilities() -> None:
    assert check_metric(perplexity, answer=replace(SAID, logprobs=(math.log(0.5), math.log(0.125)))) == pytest.approx(4)
    assert perplexity(SAID) is None


def test_samples_are_compared_at_one_length() -> None:
    short, long = answer(1, 2, 3), answer(1, 2, 9, 1, 2, 9, 1, 2, 9)
    # cut to three: 12 23 and 12 29, 3 different of 4; uncut it would be 4 of 10
    assert check_metric(Distinct(), answers=(short, long)) == 0.75
    assert Distinct(length=6).score((short, long, long)) == pytest.approx(3 / 10)  # 12 29 91 12 29, twice
    assert Distinct(length=9).score((short, long)) is None
    assert Distinct().score((short,)) is None
    assert Distinct(n=4).score((short, short)) is None
    assert Distinct().score((FAILED, short, short)) == 0.5
    assert Distinct(n=1, unit="words").score((answer(text="a b c"), answer(text="a d"))) == 0.75


@pytest.mark.parametrize("reference", ["the cat sat on the mat", ["a dog", "the cat sat"], 7])
@pytest.mark.parametrize("options", [{}, {"word_order": 2}, {"char_order": 3, "beta": 1}])
def test_chrf_is_that_of_sacrebleu(reference: Any, options: dict[str, int]) -> None:
    metrics = pytest.importorskip("sacrebleu.metrics")
    references = [str(one) for one in reference] if isinstance(reference, list) else [str(reference)]
    for text in ("the cat sat on mats", "", "the cat sat", "7"):
        expected = metrics.CHRF(**options).sentence_score(text, references).score
        assert check_metric(Chrf(**options), text=text, reference=reference) == expected


def test_chrf_of_a_text_with_itself_is_100_and_with_another_0() -> None:
    pytest.importorskip("sacrebleu")
    assert [round(Chrf().score("abc", one), 6) for one in ("abc", "xyz")] == [100, 0]


def test_without_sacrebleu_check_says_how_to_get_it() -> None:
    code = (
        "import importlib.util as u\nfind = u.find_spec\n"
        "import vllm_flow.metrics.chrf as chrf\nchrf.find_spec = lambda name: None if name == 'sacrebleu' else find(name)\n"
        "from vllm_flow.cli import main\nraise SystemExit(main(['check', 'engine=echo', 'metrics=chrf']))\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr == (
        "metrics.similarity (conf/metrics/chrf.yaml:4): the package sacrebleu is not installed. "
        "Install it: pip install 'vllm-flow[eval]'.\n"
    )
