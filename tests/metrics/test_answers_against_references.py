"""Task scores: what counts as the right answer, and what of a reference cannot be compared."""

from __future__ import annotations

from typing import Any

import pytest

from vllm_flow.metrics import Choice, Contains, Exact, Json, Number, Pattern
from vllm_flow.testing import check_metric


@pytest.mark.parametrize(
    ("text", "reference", "score"),
    [
        ("The Eiffel Tower.", "eiffel tower", True),
        ("  an  apple,\na day! ", "Apple day", True),
        ("-1.5", "15", False),
        ("it is -1.5", "It is -1.5.", True),
        ("1,000", "1000", False),  # a number's own marks stay: answer/number reads them
        ("thereof", "reof", False),
        ("Paris", ["London", "paris"], True),
        ("42", 42, True),
        ("Straße", "STRASSE", True),
        ("cafe\u0301", "café", True),
        ("", "the", False),  # what is nothing but articles, or punctuation, keeps them
        ("a", "A", True),
        ("An", "A", False),
        ("The A.", "the a", True),
        ("", "A", False),
        ("", "?!", False),
        ("?", "?", True),
        ("!", "?", False),
        ("Rome", "Paris", False),
    ],
)
def test_an_exact_answer_is_the_reference_apart_from_case_punctuation_and_articles(
    text: str, reference: Any, score: bool
) -> None:
    assert check_metric(Exact(), text=text, reference=reference) is score


@pytest.mark.parametrize(
    ("exact", "text"),
    [(Exact(ignore_case=False), "paris"), (Exact(ignore_punctuation=False), "Paris."), (Exact(ignore_articles=False), "the Paris")],
)  # fmt: skip
def test_what_is_not_to_be_ignored_counts(exact: Exact, text: str) -> None:
    assert (Exact().score(text, "Paris"), exact.score(text, "Paris"), exact.score("Paris", "Paris")) == (
        True,
        False,
        True,
    )


def test_a_reference_may_stand_anywhere_in_the_text_any_or_all_of_several() -> None:
    given = {"text": "Red and BLUE.", "reference": ["blue", "green"]}
    assert check_metric(Contains(), **given) is True
    assert check_metric(Contains(need="all"), **given) is False
    assert check_metric(Contains(ignore_case=False), **given) is False


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 42.", 42), ("5-3 = 2", 2), ("5-3", 3), ("(-7)", -7), ("it fell by −12.5 %", -12.5), ("x=-3", -3),
        ("$1,234,567.89 in all", 1234567.89), ("1,23", 23), ("6.02e23", 6.02e23), (".5", 0.5), ("-.5", -0.5),
        ("3 apples, 4 pears", 4), ("1/2", 2), ("v1.2.3", 3), ("007", 7), ("12345", 12345),
    ],
)  # fmt: skip
def test_the_last_number_of_a_text_counts(text: str, number: float) -> None:
    assert Number().said(text) == repr(float(number))
    assert check_metric(Number(), text=text, reference=number) is True
    assert check_metric(Number(), text=text, reference=2 * number + 1) is False


@pytest.mark.parametrize("text", ["none", "", "a - b"])
def test_a_text_without_a_number_says_nothing_and_is_wrong(text: str) -> None:
    assert (Number().said(text), Number().score(text, 0)) == (None, False)


def test_a_number_may_differ_by_a_tolerance_and_stand_behind_a_mark() -> None:
    assert [Number(tolerance=0.5).score("9.5", one) for one in (10, 10.01)] == [True, False]
    assert [Number(relative=0.1).score("90", one) for one in (100, 101)] == [True, False]
    assert Number(after="####").score("#### 3\n#### 5 and 6 more", "so 4 + 2\n#### 6") is True
    assert Number(after="####").score("6 and no mark", 6) is True
    assert Number().said("-0") == "0.0"


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"), (" b", None), ("B.", "B"), ("(C) Paris", "C"), ("**D**", "D"), ("D) London", "D"), ("A\nbecause", "A"),
        ("A dog barks.", None), ("The answer is (B).", "B"), ("Answer: C", "C"), ("ANSWER: **D**", "D"),
        ("First I thought the answer is A. No: the answer is B", "B"), ("so $\\boxed{C}$", "C"),
        ("\\boxed{\\text{D}}", "D"), ("(A) is wrong, so I take (D)", "A"), ("It is neither (A) nor [B]", "B"),
        ("The correct option is A", "A"), ("Because C's are round", None), ("E", None), ("The answer is An apple", None),
    ],
)  # fmt: skip
def test_the_letter_that_a_text_takes(text: str, letter: str | None) -> None:
    assert Choice().said(text) == letter
    assert [check_metric(Choice(), text=text, reference=one) for one in "ABCD"] == [one == letter for one in "ABCD"]


def test_a_letter_may_be_given_by_its_number() -> None:
    assert [Choice(letters="XYZ").score("Z", one) for one in (0, 2, " Z ")] == [False, True, True]


def test_what_a_pattern_finds_is_its_first_group_in_the_last_match() -> None:
    found = Pattern(r"=\s*(\w+)")
    assert found.said("a = b, c = d") == "d"
    assert [found.score("x = Y", one) for one in ("Y", "y", ["q", "Y"], None)] == [True, False, True, True]
    assert (found.score("nothing", "nothing"), found.score("nothing")) == (False, False)
    assert Pattern("yes|no", ignore_case=True).score("YES, no, Yes", "yes") is True
    assert Pattern("a(x)?").said("a") == ""


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"a": 1}', True), ("```json\n[1, 2]\n```", True), ("```\n3\n```\n", True), ("Here: {}", False), ('{"a": NaN}', False),
        ('{"a": 1, "a": 2}', False), ("", False), ("null", True), ("[" * 100_000, False),
    ],
)  # fmt: skip
def test_a_json_value_is_valid_by_the_standard(text: str, score: bool) -> None:
    assert check_metric(Json(), text=text) is score


def test_a_json_value_fits_its_schema_and_no_fence_where_none_may_be() -> None:
    person = Json({"type": "object", "required": ["name"], "properties": {"age": {"type": "integer", "minimum": 0}}})
    texts = ['{"name": "a", "age": 3}', '{"name": "a", "age": -3}', '{"age": 3}', "[]"]
    assert [check_metric(person, text=text) for text in texts] == [True, False, False, False]
    assert Json(fenced=False).score("```json\n1\n```") is False


def test_a_schema_that_refers_elsewhere_fetches_nothing() -> None:
    with pytest.raises(Exception, match=r"Unresolvable: https://example\.invalid/schema"):
        Json({"$ref": "https://example.invalid/schema"}).score("1")


@pytest.mark.parametrize(
    ("metric", "reference", "problem"),
    [
        (Exact(), {"a": 1}, "the reference {'a': 1} is no text. Give a text or a number."),
        (Exact(), True, "the reference true is no text. Give a text or a number."),
        (Contains(), [], "the reference is an empty list. Give one right answer or more."),
        (Exact(), " ", "the reference is an empty text. Give one right answer or more."),
        (Contains(), ["a", ""], "the reference is an empty text. Give one right answer or more."),
        (Number(), "many", "the reference 'many' has no number. Give one."),
        (Choice(), "E", "the reference 'E' is none of ABCD. Give a letter, or its number counted from 0."),
        (Choice(), 4, "the reference 4 is none of ABCD. Give a letter, or its number counted from 0."),
        (Choice(), True, "the reference true is none of ABCD. Give a letter, or its number counted from 0."),
        (Pattern("x"), [None], "the reference null is no text. Give a text or a number."),
    ],
)
def test_a_reference_that_cannot_be_compared_is_said_and_no_score(metric: Any, reference: Any, problem: str) -> None:
    with pytest.raises(ValueError, match="reference") as caught:
        metric.score("x", reference)
    assert str(caught.value) == problem


def test_options_that_no_schema_can_check_say_what_is_wrong() -> None:
    said = [str(one.problem) for metric in (Choice("ABA"), Choice("A B"), Pattern("("), Json({"type": 3})) for one in metric.problems()]  # fmt: skip
    assert said == [
        "'ABA' does not fit. Write each letter once, and nothing else, such as ABCD.",
        "'A B' does not fit. Write each letter once, and nothing else, such as ABCD.",
        "'(' is no regular expression: missing ), unterminated subpattern at position 0. Mend it.",
        "this is no JSON Schema: 3 is not valid under any of the given schemas. Mend it.",
    ]
