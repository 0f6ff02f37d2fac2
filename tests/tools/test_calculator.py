"""Arithmetic that is right, and that nothing written can make dangerous or slow."""

from __future__ import annotations

import contextlib
import time
from fractions import Fraction
from random import Random

import pytest

from vllm_flow.core.errors import ToolError
from vllm_flow.testing import call_tool
from vllm_flow.tools.calculator import calculator


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.1 + 0.2", "0.3"),
        ("1/3", "0.333333333333333"),
        ("2**100", "1267650600228229401496703205376"),
        ("12345678901234567890 * 98765432109876543210", str(12345678901234567890 * 98765432109876543210)),
        ("3 × 4 ÷ 2 − 1", "5"),
        ("2^10", "1024"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("2 ** -2", "0.25"),
        ("-(2 + 3) * +4", "-20"),
        ("sqrt(2)", "1.4142135623731"),
        ("round(2.345, 2)", "2.35"),
        ("min(3, 1, 2) + max(1, 2) + abs(-4)", "7"),
        ("factorial(20)", "2432902008176640000"),
        ("log(100, 10) + ln(e) + log10(1000)", "6"),
        ("sin(pi / 2)", "1"),
        ("floor(-1.5) + ceil(1.2)", "0"),
        ("exp(1000)", "1.97007111401705E+434"),
        ("1e-20 * 1", "0.00000000000000000001"),
        ("1_000 * 2", "2000"),
        ("100.00", "100"),
        ("12345678901234567.89 - 12345678901234567", "0.89"),
        ("1e400 // 1e399 + 1_0.5", "20.5"),
    ],
)
def test_values_are_right(expression, value):
    assert calculator(expression) == value


def test_random_expressions_are_those_of_exact_fractions():
    random = Random(7)

    def made(depth):
        if depth == 0 or random.random() < 0.2:
            return str(random.randrange(1, 100))
        return f"({made(depth - 1)} {random.choice('+-*')} {made(depth - 1)})"

    for _ in range(200):
        expression = made(5)
        assert Fraction(calculator(expression)) == Fraction(eval(expression))


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("1/0", "'1/0' divides by zero"),
        ("1 % 0", "'1 % 0' divides by zero"),
        ("9**9**9", "the power has too many digits; 1000 can be told"),
        ("(10**999) * (10**999)", "a number on the way has more than 1000 digits"),
        ("factorial(1e9)", "factorial takes a whole number from 0 to 400"),
        ("sqrt(1, 2)", "sqrt takes another number of values than 2"),
        ("sqrt(-1)", "'sqrt(-1)' has no value that can be told (InvalidOperation)"),
        ("2 +", "'2 +' is no arithmetic. Write numbers, + - * / ** and parentheses"),
        ("", "'' is no arithmetic. Write numbers, + - * / ** and parentheses"),
        ("1" * 501, "the expression has 501 characters, and 500 are read"),
        ("-" * 60 + "1", "it is nested more than 50 deep"),
        ("1e1001", "a number on the way has more than 1000 digits"),
        ("round(1.5, 1e9)", "round takes at most 30 places"),
    ],
)
def test_what_has_no_value_is_told(expression, problem):
    with pytest.raises(ToolError) as caught:
        calculator(expression)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')", "().__class__", "open('x')", "lambda: 1", "[1 for _ in '1']", "'a' * 3", "True + 1",
        "x", "1 if 1 else 2", "print(1)", "sqrt(x=2)", "sqrt(*[2])", "1 < 2", "1 & 2", "1j * 1j", "f'{1}'", "...", "(1, 2)",
        "b'1'", "sqrt.__call__(2)", "1; 2", "a := 1", "await x",
    ],
)  # fmt: skip
def test_nothing_but_arithmetic_is_understood(expression):
    with pytest.raises(ToolError, match="is no arithmetic"):
        calculator(expression)


def test_random_text_ends_in_a_value_or_in_an_error_that_is_told_and_at_once():
    random, started = Random(3), time.perf_counter()
    words = [
        "9",
        "**",
        "*",
        "(",
        ")",
        "-",
        "factorial(",
        "exp(",
        "sqrt(",
        "round(",
        ",",
        "1e300",
        "0.1",
        "/",
        "%",
        "//",
        "pi",
        "log(",
    ]
    for _ in range(3000):
        expression = "".join(random.choice(words) for _ in range(random.randrange(1, 12)))
        with contextlib.suppress(ToolError):
            assert len(calculator(expression)) <= 1010
    assert time.perf_counter() - started < 20


def test_a_model_calls_it_as_any_function():
    assert call_tool(calculator, expression="12*12") == "144"
