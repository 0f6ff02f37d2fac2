"""Results: what they say, and what is raised where they say nothing."""

from __future__ import annotations

import pytest

from vllm_flow.core.messages import Text, user
from vllm_flow.core.results import Failure, Result, TurnFailed
from vllm_flow.core.values import Completion, Score, Turn, Usage

TURN = Turn("a", user("Hi"), number=2)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Completion("Hello", (1,), "stop", Usage(1, 1)), "Hello"),
        (Text("x"), "x"),
        (None, ""),
        (Score(0.5), "Score(value=0.5)"),
    ],
)
def test_the_text_of_a_result_is_that_of_its_value(value: object, text: str) -> None:
    assert Result(TURN, value).text == text


def test_the_text_of_a_failure_is_an_error_that_carries_the_result() -> None:
    result = Result(TURN, failure=Failure("reply", "EngineError", "graph.reply (infer/generate): no."))
    with pytest.raises(TurnFailed, match=r"^turn 2 of a: graph\.reply \(infer/generate\): no\.$") as caught:
        _ = result.text
    assert caught.value.result is result


def test_a_turn_without_a_number_is_not_named() -> None:
    result = Result(Turn("rows.jsonl:1", user("")), failure=Failure("", "InputError", "rows.jsonl:1: it is empty."))
    assert str(TurnFailed(result)) == "rows.jsonl:1: it is empty."
