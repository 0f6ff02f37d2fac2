"""The score, held to what every stage promises and to what it is for."""

import pytest
from stages.variety import Variety

from vllm_flow.core.values import Completion, Usage
from vllm_flow.testing import check_stage


@pytest.mark.parametrize(("text", "score"), [("Tea for two", 1.0), ("Tea, tea and TEA, tea", 0.6), ("", 0.0)])
def test_the_score_is_the_share_of_different_words(text: str, score: float) -> None:
    completion = Completion(text, (), "stop", Usage(prompt_tokens=0, completion_tokens=0))
    assert check_stage(Variety(), completion=completion).value == score
