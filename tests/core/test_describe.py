"""What a part says of itself, read from classes as their authors write them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from tests import fakes  # noqa: F401  # registers parts that cannot be read
from vllm_flow.core import plugins, registry
from vllm_flow.core.describe import Option, field_docs, options_of, paragraphs, part_of
from vllm_flow.core.options import above, at_least
from vllm_flow.core.sampling import Sampling

REGISTRIES = {"stage": registry.stage, "resource": registry.resource, "input": registry.source}
plugins.load_built_in()
BUILT_IN = [
    (kind, one.name)
    for kind, known in REGISTRIES.items()
    for one in known
    if one.cls.__module__.startswith("vllm_flow.")
]


@dataclass(frozen=True)
class Inner:
    low: int
    high: int = 3


@dataclass(frozen=True)
class Chosen:
    """A class with an option of every kind."""

    name: str
    """What it is called,
    in two lines.

    And a second paragraph."""
    share: Annotated[float, above(0)] = 0.5
    top: Annotated[int, at_least(1)] | None = None
    mode: Literal["fast", "good"] = "fast"
    loud: bool = False
    """Whether it shouts."""
    tags: tuple[str, ...] = ("a", "b")
    inner: Inner = Inner(1)
    weights: Mapping[str, float] = field(default_factory=lambda: {"x": 1.0})
    made: int = field(default=0, init=False)
    """Nobody sets it."""


@dataclass(frozen=True)
class Derived(Chosen):
    """Declares one field anew and adds one."""

    loud: bool = True
    extra: int = 1
    """Of this class alone."""


@dataclass(frozen=True)
class Maybe:
    """Asks for what need not be there."""

    def run(self, first: Inner, second: Inner | None = None) -> Inner:
        return second or first


def part(kind: str, name: str) -> Any:
    entry = REGISTRIES[kind].find(name)
    assert entry is not None
    return part_of(REGISTRIES[kind], entry)


def test_an_option_has_its_type_range_default_and_text() -> None:
    found = {one.name: (one.takes, one.required, one.default) for one in options_of(Chosen)}
    assert found == {
        "name": ("a text", True, None),
        "share": ("a number above 0", False, 0.5),
        "top": ("an integer of 1 or more, or null", False, None),
        "mode": ("one of: fast, good", False, "fast"),
        "loud": ("true or false", False, False),
        "tags": ("a list, each item a text", False, ["a", "b"]),
        "inner": ("a mapping with: high, low", False, {"low": 1, "high": 3}),
        "weights": ("a mapping", False, {"x": 1.0}),
    }
    assert {one.name: one.doc for one in options_of(Chosen) if one.doc} == {
        "name": "What it is called,\nin two lines.\n\nAnd a second paragraph.",
        "loud": "Whether it shouts.",
    }


def test_the_options_of_sampling_stand_in_their_order_and_are_all_explained() -> None:
    options = options_of(Sampling)
    assert [one.name for one in options][:4] == ["temperature", "top_p", "top_k", "min_p"]
    assert [one.name for one in options if not one.doc] == []
    top_k = Option(
        name="top_k",
        takes="an integer of 1 or more, or null",
        required=False,
        default=None,
        doc="Keep this many most probable tokens; null keeps all.",
        schema={"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
    )
    assert options[2] == top_k


def test_a_field_declared_anew_is_explained_anew_or_not_at_all() -> None:
    assert "loud" not in field_docs(Derived)
    assert field_docs(Derived)["extra"] == "Of this class alone."
    assert field_docs(Derived)["name"] == field_docs(Chosen)["name"]


def test_a_class_without_source_has_no_texts_and_all_else() -> None:
    scope: dict[str, Any] = {"dataclass": dataclass}
    exec("@dataclass(frozen=True)\nclass Typed:\n    size: int = 1\n    'Lost.'\n", scope)
    (option,) = options_of(scope["Typed"])
    assert (option.takes, option.default, option.doc) == ("an integer", 1, "")


def test_lines_are_put_together_but_for_paragraphs_and_what_is_indented() -> None:
    assert paragraphs("one\ntwo\n\nthree\n  - four\n  - five") == "one two\n\nthree\n  - four\n  - five"


def test_a_stage_says_what_it_asks_for_and_makes() -> None:
    vote = part("stage", "select/vote")
    assert (vote.kind, vote.reads, vote.makes) == ("stage", {"candidates": "tuple[Completion, ...]"}, "Completion")
    assert vote.summary.startswith("The first candidate whose answer most candidates give")
    assert vote.details.startswith("Of answers with equal votes the one given first wins.")
    either = part("stage", "fake/either")
    assert either.reads == {"first": "Completion | None", "second": "Completion | None"}
    assert part("stage", "context/update").makes == "None"


def test_a_parameter_with_a_default_is_optional() -> None:
    found = part_of(registry.stage, registry.Entry("describe/maybe", Maybe))
    assert (found.reads, found.optional) == ({"first": "Inner", "second": "Inner | None"}, ("second",))


def test_a_resource_says_what_it_opens_and_an_input_that_it_makes_turns() -> None:
    bell = part("resource", "fake/bell")
    assert (bell.reads, bell.makes) == ({}, "Bell")
    assert [one.name for one in bell.options] == ["name", "fails_to_open", "fails_to_close"]
    lines = part("input", "input/file")
    assert (lines.reads, lines.makes) == ({}, "turns")
    assert [(one.name, one.required) for one in lines.options if one.required] == [("path", True)]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("fake/untyped", "TypeError: 'turn' has no type. Annotate every parameter of run and its return"),
        ("fake/listed", "TypeError: the option 'names': list[int] is no type of an option. Use int, float, str, bool, Literal, tuple[…, ...], Mapping or a dataclass"),
        ("fake/undefined", "NameError: name 'Nowhere' is not defined"),
    ],
)  # fmt: skip
def test_a_part_that_cannot_be_read_says_why_and_keeps_its_line(name: str, problem: str) -> None:
    found = part("stage", name)
    assert found.problem == problem
    assert found.summary.startswith("A stage")
    assert found.makes == ""


@pytest.mark.parametrize(("kind", "name"), BUILT_IN)
def test_every_built_in_part_can_be_read(kind: str, name: str) -> None:
    found = part(kind, name)
    assert (found.problem, found.name, found.kind) == ("", name, kind)
    assert found.makes
