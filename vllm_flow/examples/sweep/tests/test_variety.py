"""The score, held to what every stage promises and to what it is for."""

import pytest
from stages.variety import Variety

from vllm_flow.testing import check_stage, completion


@pytest.mark.parametrize(("text", "score"), [("Tea for two", 1.0), ("Tea, tea and TEA, tea", 0.6), ("", 0.0)])
def test_the_score_is_the_share_of_different_words(text: str, score: float) -> None:
    assert check_stage(Variety(), completion=completion(text)).value == score
