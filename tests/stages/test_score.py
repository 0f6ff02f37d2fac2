"""Scores of one reply: what a metric says of it, as feedback; and what is refused of a text to be scored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from vllm_flow.core import plugins, registry
from vllm_flow.core.errors import EngineError, FlowError
from vllm_flow.core.media import Image
from vllm_flow.core.messages import user
from vllm_flow.core.option_checks import own_problems
from vllm_flow.core.registry import metric
from vllm_flow.core.values import Context, Score
from vllm_flow.stages.score import ByMetric, Continued, Given
from vllm_flow.testing import EchoEngine, completion, turn


@pytest.fixture(autouse=True)
def _metrics(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    plugins.load_built_in()
    monkeypatch.setattr(registry.metric, "_entries", dict(registry.metric._entries))
    return


@pytest.mark.parametrize(
    ("made", "text", "score"),
    [
        (ByMetric("length/words", 0, 8), "two words", -0.5),
        (ByMetric("length/words", 0, 8), "as many words as there are words in this", 1.0),
        (ByMetric("length/words", 4, 0), "two words", 0.0),
        (ByMetric("text/repetition", 1.0, 0.0, {"n": 1, "unit": "words"}), "a b a b", 0.0),
        (ByMetric("answer/regex", options={"pattern": "b+"}), "abb", 1.0),
        (ByMetric("answer/regex", options={"pattern": "b+"}), "a", -1.0),
    ],
)  # fmt: skip
def test_a_metric_s_value_lies_between_worst_and_best(made: ByMetric, text: str, score: float) -> None:
    assert list(own_problems(made)) == []
    assert made.run(completion(text), turn("hm")) == Score(pytest.approx(score))


def test_where_the_metric_does_not_apply_there_is_no_score() -> None:
    made = ByMetric("answer/exact")
    assert made.run(completion("four"), turn("2 + 2?")) is None
    assert made.run(completion("four"), replace(turn("2 + 2?"), reference="four")) == Score(1.0)
    assert made.run(completion("five"), replace(turn("2 + 2?"), reference="four")) == Score(-1.0)
    assert ByMetric("text/repetition").run(completion("short"), turn("hm")) is None


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (ByMetric("length/word"), "metric: there is no metric 'length/word'. Did you mean 'length/words'? There are: "),
        (ByMetric("length/words", 1, 1), "best: it is 1, as `worst` is. Make them differ."),
        (ByMetric("samples/mean"), "metric: samples/mean is of several answers. Choose one of a single answer."),
        (ByMetric("text/repetition", options={"m": 3}), "options.m: there is no option 'm'. Options: n, unit."),
        (ByMetric("answer/regex", options={"pattern": "("}), "options.pattern: "),
    ],
)  # fmt: skip
def test_what_is_no_metric_of_a_reply_is_refused(made: ByMetric, words: str) -> None:
    path, problem = next(iter(own_problems(made)))
    assert f"{'.'.join(path)}: {problem}".startswith(words)


def test_what_a_metric_gives_must_be_a_number() -> None:
    @metric("test/endless")
    def endless(text: str) -> Any:
        """Too good."""
        return float("inf")

    with pytest.raises(FlowError) as caught:
        ByMetric("test/endless").run(completion("a"), turn("hm"))
    assert str(caught.value) == "test/endless gave inf. A score is a finite number, true, false or None."


def test_a_text_is_not_scored_without_the_image_beside_it() -> None:
    shown = replace(turn("A cat."), message=user("A cat.", Image("a" * 64, 8, 8, "cat.png")))
    for scoring in (Given().run(shown, EchoEngine()), Continued().run(shown, Context(()), EchoEngine())):
        with pytest.raises(EngineError) as caught:
            asyncio.run(scoring)
        assert str(caught.value) == "the text to score: an image stands beside it. Leave that out: texts are scored."
