"""What a model is told of a function, from its signature and its docstring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from vllm_flow.core.functions import class_of
from vllm_flow.core.options import between
from vllm_flow.core.pages import Web
from vllm_flow.core.resources import Clock
from vllm_flow.core.tool_schema import signature_of


@dataclass(frozen=True)
class Place:
    """Where."""

    name: str
    country: str | None = None


def travel(
    to: Place,
    on: list[str],
    clock: Clock,
    stars: Annotated[int, between(1, 5)] = 3,
    by: Literal["train", "plane"] = "train",
    *,
    web: Web,
    quiet: bool = False,
) -> str:
    """Find a journey,
    and a bed.

    Args:
        to: Where it goes,
            and where it ends.
        on (list): The days.
        stars: How good the
            bed: at least.

    Returns:
        to: no argument
    """
    return f"{to.name} {on} {stars} {by} {quiet}"


def test_arguments_have_types_ranges_choices_defaults_and_words():
    found = signature_of("travel", class_of(travel, "call"))
    assert (found.spec.name, found.spec.description) == ("travel", "Find a journey, and a bed.")
    place = {"name": {"type": "string"}, "country": {"anyOf": [{"type": "string"}, {"type": "null"}]}}
    assert found.spec.parameters == {
        "type": "object",
        "properties": {
            "to": {
                "type": "object",
                "properties": place,
                "required": ["name"],
                "additionalProperties": False,
                "description": "Where it goes, and where it ends.",
            },
            "on": {"type": "array", "items": {"type": "string"}, "description": "The days."},
            "stars": {
                "type": "integer",
                "minimum": 1,
                "maximum": 5,
                "description": "How good the bed: at least.",
                "default": 3,
            },
            "by": {"enum": ["train", "plane"], "default": "train"},
            "quiet": {"type": "boolean", "default": False},
        },
        "required": ["to", "on"],
        "additionalProperties": False,
    }
    assert found.resources == ("clock", "web")


def test_arguments_are_checked_in_words_and_read_as_the_annotations_have_them():
    found = signature_of("travel", class_of(travel, "call"))
    given = {"to": {"name": "Oslo"}, "on": ["Monday"], "stars": 9, "speed": 3}
    assert [(".".join(one.path), one.problem) for one in found.problems(given)] == [
        ("stars", "9 does not fit. It takes an integer from 1 to 5."),
        ("speed", "there is no option 'speed'. Options: by, on, quiet, stars, to."),
    ]
    read = found.read({"to": {"name": "Oslo"}, "on": ["Monday"]})
    assert read == {"to": Place("Oslo"), "on": ["Monday"]}


def bare(x) -> str:  # type: ignore[no-untyped-def]
    """Without a type."""
    return str(x)


def odd(x: complex) -> str:
    """With a type that JSON has not."""
    return str(x)


def many(*x: str) -> str:
    """With as many as there are."""
    return str(x)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (bare, "'x' has no type. Annotate every parameter of call and its return"),
        (odd, "the argument 'x': complex is no type of an option. Use int, float, str, bool, Literal, tuple[…, ...], Mapping or a dataclass"),
        (many, "'*x: 'str'' is no port: it takes no value by its name. Write each parameter of call out"),
    ],
)  # fmt: skip
def test_what_cannot_be_told_to_a_model_is_refused(function, problem):
    with pytest.raises(TypeError) as caught:
        signature_of("f", class_of(function, "call"))
    assert str(caught.value) == problem
