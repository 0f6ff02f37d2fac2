"""Which JSON Schemas an answer can be held to, and what is said of all others: where, what, and what would be right."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from vllm_flow.core.grammar import held, problem_of, problem_of_regex
from vllm_flow.core.option_checks import problems
from vllm_flow.core.options import build, written
from vllm_flow.core.schema import Schema, schema_problems
from vllm_flow.core.shape import Parsed, Shape, parsed
from vllm_flow.stages.asking import Asking

ONE_OF = "Give one of $ref, anyOf, enum, const, type."
KINDS = "object, array, string, integer, number, boolean, null"
ENDLESS = (
    "it never ends: whatever it is, it holds another of itself. Leave the property that does so out of `required`, or "
    "write anyOf with an end beside it."
)


def said(schema: Any) -> dict[str, str]:
    """Path to problem."""
    return {".".join(one.path): one.problem for one in schema_problems(schema)}


def wrapped(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}}


@pytest.mark.parametrize(
    ("schema", "place", "problem"),
    [
        ({}, "", f"it does not say which values there are. {ONE_OF}"),
        ({"oneOf": [{"type": "null"}]}, "oneOf", f"the keyword 'oneOf' is not supported here. {ONE_OF}"),
        ({"type": "string", "enum": ["a"], "anyOf": [{"type": "null"}]}, "", f"anyOf and enum and type stand together. {ONE_OF}"),
        ({"type": "string", "uniqueItems": True}, "uniqueItems", "the keyword 'uniqueItems' is not supported here. Beside string there are: format, maxLength, minLength, pattern."),
        ({"type": "string", "maxLenght": 3}, "maxLenght", "the keyword 'maxLenght' is not supported here. Did you mean 'maxLength'? Beside string there are: format, maxLength, minLength, pattern."),
        ({"type": "boolean", "minimum": 0}, "minimum", "the keyword 'minimum' is not supported here. Nothing stands beside boolean."),
        ({"type": ["number", "integer"], "multipleOf": 2}, "multipleOf", "the keyword 'multipleOf' is not supported here. Beside number or integer there are: exclusiveMaximum, exclusiveMinimum, maximum, minimum."),
        ({"type": "null", "$defs": {"a": {"type": "null"}}}, "$defs", "the keyword '$defs' is not supported here. Nothing stands beside null."),
        ({"type": "text"}, "type", f"'text' does not fit. It takes one of: {KINDS}, or a list, each item one of: {KINDS}."),
        ({"type": None}, "type", f"null does not fit. It takes one of: {KINDS}, or a list, each item one of: {KINDS}. Write \"null\", in quotation marks, for the type."),
        ({"type": "string", "minLength": -1}, "minLength", "-1 does not fit. It takes an integer of 0 or more."),
        ({"type": "string", "format": "phone"}, "format", "'phone' does not fit. It takes one of: date, date-time, duration, email, hostname, ipv4, ipv6, time, uri, uuid."),
        ({"type": "object"}, "", "it does not name its properties, and no others are written. Add `properties`."),
        ({"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": True}, "additionalProperties", "true does not fit. It takes false alone: no other properties are written."),
        ({"type": "object", "properties": {"age": {"type": "null"}}, "required": ["agе"]}, "required.0", "there is no property 'agе'. Did you mean 'age'? Properties: age."),
        ({"type": "array"}, "", "it does not say what its items are. Add `items` with their schema."),
        ({"type": "array", "items": True}, "items", "true does not fit. It takes a schema: a mapping with one of $ref, anyOf, enum, const, type."),
        ({"$ref": "http://example.com/s"}, "$ref", "'http://example.com/s' does not fit. It takes a text such as '#/$defs/name'."),
        ({"$ref": "#/$defs/a"}, "$ref", "there is no 'a' in $defs. There are: none."),
        ({"type": "string", "pattern": "(a"}, "pattern", "it is no regular expression: missing ), unterminated subpattern at position 0. Change it."),
        ({"type": "string", "pattern": "(?=a)b"}, "pattern", "no answer can be held to it: look-around, including look-ahead and look-behind, is not supported. Write it without."),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "", "no answer can be held to it: minLength (3) is greater than maxLength (2). Change it."),
        ({"type": "array", "prefixItems": [{"type": "null"}], "minItems": 2}, "", "no answer can be held to it: required item is unsatisfiable. Change it."),
        ({"enum": ["a", 1], "type": "string"}, "enum.1", "1 is not of the type string. Change the one or the other."),
        ({"const": 1.5, "type": "integer"}, "const", "1.5 is not of the type integer. Change the one or the other."),
        ({"type": "number", "minimum": 0.1234567}, "minimum", "0.1234567 has more than the 6 decimals that numbers are written with. Round it."),
        ({"type": "number", "maximum": 1e12}, "maximum", "1000000000000.0 is further from 0 than numbers with decimals are held to, 1000000000. Use the type integer, or a nearer bound."),
        ({"type": "number", "minimum": 0.4, "maximum": 0.4}, "maximum", "0.4 is the minimum, too. Write `const: 0.4` alone."),
        ({"const": float("inf")}, "const", "inf is nothing that JSON can hold. Write a text, a number, true, false or null."),
        ({"enum": [datetime.date(2026, 1, 2)]}, "enum.0", "datetime.date(2026, 1, 2) is nothing that JSON can hold. Write a text, a number, true, false or null."),
        ({"enum": ["\ud800"]}, "enum.0", "'\\ud800' is nothing that JSON can hold. Write a text, a number, true, false or null."),
        ({1: {"type": "null"}}, "1", "the key 1 is no text. Put it in quotation marks."),
    ],
)  # fmt: skip
def test_what_no_answer_can_be_held_to_is_refused_at_its_place(schema: Any, place: str, problem: str) -> None:
    if place != "$defs":
        assert said(schema) == {place: problem}
    assert said(wrapped(schema)) == {"properties.x" + f".{place}" * bool(place): problem}


def test_all_faults_are_told_at_once_and_each_once() -> None:
    schema = {
        "type": "object",
        "properties": {
            "a": {"type": "string", "minimum": 1},
            "b": {"type": "array", "items": {"not": {}}, "maxItems": "2"},
        },
        "required": "a",
    }
    assert list(said(schema)) == ["required", "properties.a.minimum", "properties.b.maxItems", "properties.b.items.not"]


def test_what_always_holds_another_of_itself_is_refused() -> None:
    def node(*required: str, **link: Any) -> dict[str, Any]:
        body = {"type": "object", "properties": {"next": link or {"$ref": "#/$defs/node"}}, "required": list(required)}
        return {"$ref": "#/$defs/node", "$defs": {"node": body}}

    assert said(node("next")) == {"$defs.node": ENDLESS}
    assert said(node()) == {}
    assert said(node("next", anyOf=[{"$ref": "#/$defs/node"}, {"type": "null"}])) == {}
    assert said(node("next", type="array", items={"$ref": "#/$defs/node"})) == {}
    assert said(node("next", type="array", items={"$ref": "#/$defs/node"}, minItems=1)) == {"$defs.node": ENDLESS}
    either = {"type": ["object", "array"], "properties": {"x": {"$ref": "#/$defs/a"}}, "required": ["x"]}
    for least, told in ((0, {}), (1, {"$defs.a": ENDLESS})):
        own = {**either, "items": {"$ref": "#/$defs/a"}, "minItems": least}
        assert said({"$ref": "#/$defs/a", "$defs": {"a": own}}) == told
    assert said({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}) == {
        "$defs.a": ENDLESS,
        "$defs.b": ENDLESS,
    }


def test_numbers_and_properties_that_a_schema_leaves_open_are_closed() -> None:
    def limits(**schema: Any) -> dict[str, Any]:
        return {key: value for key, value in held(schema).items() if key != "type"}

    assert limits(type="integer") == {"minimum": -(10**15), "maximum": 10**15}
    assert limits(type="integer", minimum=10**15) == {"minimum": 10**15, "maximum": 2**53}
    assert limits(type="integer", exclusiveMinimum=2.5, exclusiveMaximum=7, maximum=9) == {"minimum": 3, "maximum": 6}
    assert limits(type="number") == {"minimum": -(10**9), "maximum": 10**9, "multipleOf": 1e-6}
    assert limits(type="number", exclusiveMinimum=0, maximum=1) == {"minimum": 1e-6, "maximum": 1, "multipleOf": 1e-6}
    assert limits(type="array", prefixItems=[{"type": "null"}]) == {"prefixItems": [{"type": "null"}], "items": False}
    assert held({"type": "object", "properties": {"a": {"type": "null", "title": "A"}}}) == {
        "type": "object",
        "properties": {"a": {"type": "null"}},
        "additionalProperties": False,
    }
    assert held({"type": "number", "title": "n"}, numbers=False) == {"type": "number"}


@pytest.mark.parametrize(
    ("regex", "problem"),
    [
        ("(a", "it is no regular expression: missing ), unterminated subpattern at position 0. Change it."),
        ("[[a]]", "it is no regular expression: Possible nested set at position 1. Change it."),
        ("", "it is empty, and so would be every answer. Remove it."),
        (r"[^\s\S]", "no text fits it. Change it."),
        (r"(a)\1", "no answer can be held to it: backreferences are not supported. Write it without."),
        (
            r"\bfoo",
            r"no answer can be held to it: lookarounds not supported yet; WordUnicode in regex /\bfoo/. Write it without.",
        ),
        (r"[0-9]{2,3}|é+", ""),
    ],
)
def test_a_regex_that_no_answer_can_be_held_to_is_refused(regex: str, problem: str) -> None:
    assert problem_of_regex(regex) == problem_of(Shape(regex=regex)) == problem


def test_a_schema_is_an_option_that_keeps_the_order_of_its_keys() -> None:
    given = {"schema": {"type": "object", "properties": {"b": {"type": "null"}, "a": {"const": [1, {"x": None}]}}}}
    assert problems(Asking, given) == []
    made = build(Asking, given)
    assert made.schema == Schema('{"type":"object","properties":{"b":{"type":"null"},"a":{"const":[1,{"x":null}]}}}')
    assert made.shape == Shape(schema=made.schema.text)
    assert written(made, defaults=False) == given
    hash(made)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"choices": ()}, "choices: there are none. Give some texts, or remove it."),
        ({"choices": ("a", "b", "a")}, "choices.2: 'a' is there already. Remove it."),
        ({"choices": ("a", "")}, "choices.1: an empty text is no answer. Remove it."),
        ({"choices": ("\udc00",)}, "choices.0: it has half a character in it, which no model can write. Remove it."),
        (
            {"regex": "a("},
            "regex: it is no regular expression: missing ), unterminated subpattern at position 1. Change it.",
        ),
        (
            {"regex": "a", "choices": ("a",)},
            "regex: choices and regex are given, and an answer has one shape. Keep one.",
        ),
    ],
)
def test_what_is_no_shape_is_refused_as_an_option(given: dict[str, Any], problem: str) -> None:
    assert [f"{'.'.join(one.path)}: {one.problem}" for one in Asking(**given).problems()] == [problem]


def test_a_shape_is_exactly_one_of_three() -> None:
    with pytest.raises(ValueError, match=r"^a shape: nothing is given\. Give one of schema, choices, regex\.$"):
        Shape()
    with pytest.raises(
        ValueError, match=r"^a shape: schema and regex are given\. Give one of schema, choices, regex\.$"
    ):
        Shape(schema="{}", regex="a")
    assert [Shape.of_schema({"type": "null"}).kind, Shape(choices=("a",)).kind, Shape(regex="a").kind] == [
        "schema",
        "choices",
        "regex",
    ]


@pytest.mark.parametrize("depth", [200, 100_000])
def test_what_is_nested_too_deeply_to_be_looked_at_is_no_data(depth: int) -> None:
    link = {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}
    node = {"type": "object", "properties": {"next": link}, "required": ["next"]}
    shape = Shape.of_schema({"$ref": "#/$defs/node", "$defs": {"node": node}})
    assert parsed(shape, '{"next":{"next":null}}', cut=False) == Parsed({"next": {"next": None}})
    assert parsed(shape, '{"next":' * depth + "null" + "}" * depth, cut=False).problem == (
        'the answer does not fit its schema: \'{"next":{"next":{"next":{"next":{"next":{"next":{"next":{"next":{"next":{"ne...'
        ": nested too deeply to be read. Remove what ends it early, such as a stop text, or ask again."
    )
