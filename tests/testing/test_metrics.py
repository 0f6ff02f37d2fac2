"""The check of a metric finds what is broken, and gives the score of what is sound."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count

import pytest

from vllm_flow.core import registry
from vllm_flow.core.registry import metric
from vllm_flow.metrics import Exact, words
from vllm_flow.testing import check_metric


@pytest.fixture(autouse=True)
def _own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.metric, "_entries", dict(registry.metric._entries))


def broken(what: object, **values: object) -> str:
    with pytest.raises(AssertionError) as caught:
        check_metric(what, **values)
    return str(caught.value)


def test_a_sound_metric_gives_its_score() -> None:
    assert (check_metric(words, text="a b"), check_metric(Exact(), text="a", reference="b")) == (2, False)


def test_what_is_given_must_be_what_it_asks_for() -> None:
    assert broken(words, txt="a") == "length/words: there is no parameter 'txt'. Did you mean 'text'? It has: text."
    assert broken(words) == "length/words.text: nothing is given. It takes str."
    assert broken(Exact) == "Exact is a class. Give an instance of it: Exact(…)."


def test_a_metric_that_nobody_registered_or_that_wavers_is_none() -> None:
    counter = count()

    def unsteady(text: str) -> float:
        """Counts its calls."""
        return next(counter)

    assert broken(unsteady, text="") == "unsteady: it is not registered. Put @metric('role/manner') above the function."
    metric("own/unsteady")(unsteady)
    assert broken(unsteady, text="") == (
        "own/unsteady: for equal values it gave 0 and then 1. Use nothing but parameters and options."
    )


def test_what_it_gives_must_be_a_score_and_its_options_be_readable() -> None:
    @metric("own/words")
    @dataclass(frozen=True)
    class Words:
        """Gives the words themselves."""

        marks: str = "."

        def score(self, text: str) -> float | None:
            return text.split()  # type: ignore[return-value]

    assert broken(Words(), text="a b") == "own/words: it gave ['a', 'b']. A score is a number, true, false or None."
    assert broken(Words(3), text="a b") == "own/words.marks: 3 does not fit. It takes a text."  # type: ignore[arg-type]
