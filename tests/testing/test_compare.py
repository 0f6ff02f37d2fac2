"""What is said of two values that differ: the innermost place, in one line, whatever they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from vllm_flow.core.messages import Message, Text, user
from vllm_flow.core.values import Turn
from vllm_flow.testing.compare import copied, same


class Vector:
    """Says neither yes nor no."""

    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth of a vector is ambiguous.")

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Pair:
    left: Any
    right: Any


LONG = "It was the best of times, it was the worst of times, it was the age of wisdom"


@pytest.mark.parametrize(
    ("given", "wanted", "said"),
    [
        (1, 2, "it is 1. It should be 2."),
        (None, "x", "it is None. It should be 'x'."),
        ([1, 2], [1, 3], "it: [1] is 2. It should be 3."),
        ((1,), (1, 2), "it: its length is 1. It should be 2."),
        ((1,), [1], "it is (1,). It should be [1]."),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "it: ['a']['b'] is 1. It should be 2."),
        ({"a": 1}, {"b": 1}, "it is {'a': 1}. It should be {'b': 1}."),
        (Turn("a", user("x")), Turn("a", user("y")), "it: message.parts[0].text is 'x'. It should be 'y'."),
        (Turn("a", user("x")), Turn("a", Message("user", ())), "it: len(message.parts) is 1. It should be 0."),
        (
            LONG + ", today",
            LONG + ", then",
            "it: it[65:] is 'ge of wisdom, today'. It should be 'ge of wisdom, then'.",
        ),
        (
            Pair(np.array([1.0, 2.0]), 1),
            Pair(np.array([1.0, 3.0]), 1),
            "it: left is array([1., 2.]). It should be array([1., 3.]).",
        ),
        (LONG, "", f"it is '{LONG[:58]}…. It should be ''."),
        (
            Pair(1, Vector()),
            Pair(1, Vector()),
            "Vector and Vector cannot be compared (ValueError: the truth of a vector is ambiguous). Give the class an __eq__ "
            "that says True or False.",
        ),
    ],
)
def test_the_innermost_place_that_differs_is_told(given: Any, wanted: Any, said: str) -> None:
    with pytest.raises(AssertionError) as caught:
        same("it", given, wanted)
    assert str(caught.value) == said


def test_equal_values_pass() -> None:
    one = Vector()
    same("it", one, one)
    same("it", Pair(np.array([1.0, 2.0]), 1), Pair(np.array([1.0, 2.0]), 1))
    same("it", Turn("a", user("x")), Turn("a", user("x")))


def test_a_copy_is_equal_and_shares_nothing_changeable() -> None:
    inner = {"list": [1]}
    one = Pair((inner, Text("x")), [inner])
    two = copied(one)
    assert two == one
    two.left[0]["list"].append(2)
    two.right[0]["new"] = 3
    assert inner == {"list": [1]}
    lock, array = Vector(), np.array([1.0, 2.0])
    two = copied(Pair(lock, array))
    assert two.left is lock
    array[0] = 3.0
    assert two.right[0] == 1.0
