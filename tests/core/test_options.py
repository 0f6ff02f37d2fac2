"""Options: the JSON Schema of a dataclass, what it refuses and in which words, and the instance made of a mapping."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import pytest
from jsonschema import Draft202012Validator

from vllm_flow.core import options
from vllm_flow.core.option_checks import problems
from vllm_flow.core.options import build, schema_of


@dataclass(frozen=True)
class Limits:
    low: Annotated[int, options.at_least(0)]
    high: Annotated[float, options.between(0, 1)] = 1.0


@dataclass(frozen=True)
class Options:
    mode: Literal["fast", "exact"]
    limits: Limits
    rate: Annotated[float, options.above(0)] = 1.0
    share: Annotated[float, options.above_up_to(0, 1)] = 1.0
    name: Annotated[str, options.not_empty()] = "x"
    on: bool = False
    top: Annotated[int | None, options.at_least(1)] = None
    outer: Limits | None = None
    size: int | str = 1
    tags: tuple[str, ...] = ()
    steps: tuple[Limits, ...] | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    changes: Annotated[Mapping[str, Any], options.ChangesOf(Limits)] = field(default_factory=dict)
    anything: Any = None
    made: int = field(init=False, default=7)
    shared: ClassVar[int] = 3


LIMITS: dict[str, Any] = {
    "type": "object",
    "properties": {"low": {"type": "integer", "minimum": 0}, "high": {"type": "number", "minimum": 0, "maximum": 1}},
    "required": ["low"],
    "additionalProperties": False,
}
NULL, TEXT = {"type": "null"}, {"type": "string"}
SOUND: dict[str, Any] = {"mode": "fast", "limits": {"low": 1}}
KEYS = "anything, changes, limits, mode, name, on, outer, rate, share, size, steps, tags, top, weights"


def refused(given: Any) -> list[str]:
    return [f"{'.'.join(one.path)}: {one.problem}" for one in problems(Options, given)]


def test_a_dataclass_is_its_own_json_schema() -> None:
    Draft202012Validator.check_schema(schema_of(Options))
    assert schema_of(Options) == {
        "type": "object",
        "properties": {
            "mode": {"enum": ["fast", "exact"]},
            "limits": LIMITS,
            "rate": {"type": "number", "exclusiveMinimum": 0},
            "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
            "name": {"type": "string", "minLength": 1},
            "on": {"type": "boolean"},
            "top": {"anyOf": [{"type": "integer", "minimum": 1}, NULL]},
            "outer": {"anyOf": [LIMITS, NULL]},
            "size": {"anyOf": [{"type": "integer"}, TEXT]},
            "tags": {"type": "array", "items": TEXT},
            "steps": {"anyOf": [{"type": "array", "items": LIMITS}, NULL]},
            "weights": {"type": "object", "additionalProperties": {"type": "number"}, "propertyNames": TEXT},
            "changes": {**LIMITS, "required": []},
            "anything": {},
        },
        "required": ["mode", "limits"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize("named", ["list[int]", "tuple[int, str]", "bytes", "complex"])
@pytest.mark.parametrize("within", ["{}", "{} | None", "dict[str, {}]", "tuple[{}, ...]"])
def test_a_type_that_yaml_cannot_write_is_refused_with_its_option(within: str, named: str) -> None:
    cls = dataclass(frozen=True)(type("Own", (), {"__annotations__": {"value": within.format(named)}}))
    with pytest.raises(TypeError) as caught:
        schema_of(cls)
    known = "int, float, str, bool, Literal, tuple[…, ...], Mapping or a dataclass"
    assert str(caught.value) == f"the option 'value': {named} is no type of an option. Use {known}"


def test_what_is_given_becomes_frozen_values_and_the_rest_keeps_its_default() -> None:
    given = {"rate": 2, "tags": ["a"], "steps": [{"low": 2, "high": 0}], "top": None, "weights": {"x": 1}}
    given |= SOUND | {"changes": {"high": 1}, "outer": MappingProxyType({"low": 3}), "size": "3"}
    assert problems(Options, MappingProxyType(given)) == []
    made = build(Options, MappingProxyType(given))
    own = {"steps": (Limits(2, 0.0),), "outer": Limits(3), "tags": ("a",), "changes": {"high": 1.0}, "size": "3"}
    assert made == Options("fast", Limits(1), 2.0, weights={"x": 1.0}, **own)
    assert {type(one) for one in (made.rate, made.steps and made.steps[0].high, made.weights["x"])} == {float}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mode": "slow"}, "mode: 'slow' does not fit. It takes one of: fast, exact."),
        ({"limits": 3}, "limits: 3 does not fit. It takes a mapping with: high, low."),
        ({"limits": {}}, "limits.low: 'low' is missing. It takes an integer of 0 or more."),
        ({"limits": {"low": True}}, "limits.low: true does not fit. It takes an integer of 0 or more."),
        ({"limits": {"low": 1.0}}, "limits.low: 1.0 does not fit. It takes an integer of 0 or more."),
        ({"rate": 0}, "rate: 0 does not fit. It takes a number above 0."),
        ({"rate": float("nan")}, "rate: nan does not fit. It takes a number above 0."),
        ({"rate": 10**400}, f"rate: {'1' + '0' * 56}... does not fit. It takes a number above 0."),
        ({"share": 1.5}, "share: 1.5 does not fit. It takes a number above 0 and at most 1."),
        ({"name": ""}, "name: '' does not fit. It takes a text that is not empty."),
        ({"on": "yes"}, "on: 'yes' does not fit. It takes true or false."),
        ({"top": 0}, "top: 0 does not fit. It takes an integer of 1 or more, or null."),
        ({"outer": {"low": 0, "high": 2}}, "outer.high: 2 does not fit. It takes a number from 0 to 1."),
        ({"outer": 3}, "outer: 3 does not fit. It takes a mapping with: high, low, or null."),
        ({"size": None}, "size: null does not fit. It takes an integer, or a text."),
        ({"tags": ["a", 1]}, "tags.1: 1 does not fit. It takes a text."),
        ({"steps": [{"low": 1}, {"low": -1}]}, "steps.1.low: -1 does not fit. It takes an integer of 0 or more."),
        ({"steps": "a"}, "steps: 'a' does not fit. It takes a list, each item a mapping with: high, low, or null."),
        ({"weights": {"x": "1"}}, "weights.x: '1' does not fit. It takes a number."),
        ({"weights": {1: 1}}, "weights: 1 does not fit. It takes a text."),
        ({"changes": {"lwo": 1}}, "changes.lwo: there is no option 'lwo'. Did you mean 'low'? Options: high, low."),
        ({"made": 7}, f"made: there is no option 'made'. Did you mean 'mode'? Options: {KEYS}."),
        ({5: 7}, f"5: there is no option '5'. Options: {KEYS}."),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(change: dict[Any, Any], words: str) -> None:
    assert refused(SOUND | change) == [words]


def test_faults_come_in_the_order_they_are_written_and_what_is_missing_last() -> None:
    assert refused({"tags": ["a", 1, 2], "tpo": 1, "rate": -1}) == [
        "tags.1: 1 does not fit. It takes a text.",
        "tags.2: 2 does not fit. It takes a text.",
        f"tpo: there is no option 'tpo'. Did you mean 'top'? Options: {KEYS}.",
        "rate: -1 does not fit. It takes a number above 0.",
        "mode: 'mode' is missing. It takes one of: fast, exact.",
        "limits: 'limits' is missing. It takes a mapping with: high, low.",
    ]


@pytest.mark.parametrize(("given", "shown"), [(None, "null"), (3, "3"), ("mode", "'mode'"), (["mode"], "['mode']")])
def test_what_is_no_mapping_is_refused_whole(given: Any, shown: str) -> None:
    assert refused(given) == [f": {shown} does not fit. It takes a mapping with: {KEYS}."]


def test_what_is_written_of_an_instance_makes_it_again() -> None:
    steps, weights = (Limits(1), Limits(2, 0.5)), MappingProxyType({"a": 1.0})
    full = Options("exact", Limits(3), outer=Limits(4), size="big", tags=("a", "b"), steps=steps, weights=weights)
    for defaults in (True, False):
        written = options.written(full, defaults=defaults)
        assert problems(Options, written) == []
        assert build(Options, written) == full


def test_options_at_their_default_can_be_left_out_of_what_is_written() -> None:
    made = Options("fast", Limits(1, 1.0), rate=1, tags=(), steps=(Limits(2, 0.5),))
    assert options.written(made, defaults=False) == {
        "mode": "fast",
        "limits": {"low": 1},
        "steps": [{"low": 2, "high": 0.5}],
    }
    assert set(options.written(made)) == set(KEYS.split(", "))
    assert options.written(made)["limits"] == {"low": 1, "high": 1.0}
