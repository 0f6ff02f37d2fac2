"""What was computed last is kept by how much it holds, and what failed is not."""

from __future__ import annotations

import pytest

from vllm_flow.engines.recent import Recent


def test_the_newest_are_kept_up_to_so_many_tokens() -> None:
    asked = list[str]()
    known = Recent(lambda key: asked.append(key) or key * 2, len, most=10)
    assert [known(key) for key in ("ab", "cd", "ab", "ef", "cd", "ab")] == [
        "abab",
        "cdcd",
        "abab",
        "efef",
        "cdcd",
        "abab",
    ]
    assert asked == ["ab", "cd", "ef", "cd", "ab"]  # of four tokens each two fit, and the oldest in use goes


def test_one_that_is_larger_than_all_there_is_is_kept_alone() -> None:
    asked = list[str]()
    known = Recent(lambda key: asked.append(key) or key, len, most=3)
    assert [known("longer"), known("longer"), known("a"), known("longer")] == ["longer", "longer", "a", "longer"]
    assert asked == ["longer", "a", "longer"]


def test_what_fails_is_asked_again() -> None:
    asked = list[int]()

    def compute(key: int) -> str:
        asked.append(key)
        raise ValueError(key)

    known = Recent(compute, len)
    for _ in range(2):
        with pytest.raises(ValueError, match="7"):
            known(7)
    assert asked == [7, 7]
