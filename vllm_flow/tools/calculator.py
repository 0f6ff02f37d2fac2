"""The calculator: arithmetic by a walk over what was written, never by running it.

Nothing but numbers, operators and the functions listed here is understood. Numbers are decimal, so 0.1 + 0.2 is 0.3;
and before a power or a factorial is made, it is asked how long it would be: `9**9**9` is refused in no time.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_UP, Context, Decimal, DecimalException

from vllm_flow.core.errors import ToolError, listed
from vllm_flow.core.registry import tool

LONGEST, DEEPEST = 500, 50
"""Characters of what is written, and operations inside each other."""
DIGITS, SHOWN = 30, 15
"""Of a number that is not whole: digits on the way, and in the result."""
LARGEST = 1000
"""Digits of any number on the way."""
CONTEXT = Context(prec=DIGITS, Emax=LARGEST, Emin=-LARGEST)
EXACT = Context(prec=2 * LARGEST, Emax=MAX_EMAX, Emin=MIN_EMIN, rounding=ROUND_HALF_UP)
SPELLED: dict[str, str | int | None] = {
    "×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**", "（": "(", "）": ")", "，": ",",
}  # fmt: skip
"""What people write for what is read."""
NAMES: Mapping[str, Decimal] = {
    "pi": Decimal("3.1415926535897932384626433832795028841971693993751"),
    "e": Decimal("2.7182818284590452353602874713526624977572470937000"),
}


@tool
def calculator(expression: str) -> str:
    """The value of an arithmetic expression: + - * / // % **, parentheses, sqrt, abs, round, min, max, log and more.

    Args:
        expression: Such as (12.5 + 3) * 4, or sqrt(2); numbers without thousands separators.
    """
    if len(expression) > LONGEST:
        raise ToolError(f"the expression has {len(expression)} characters, and {LONGEST} are read")
    try:
        source = expression.translate(str.maketrans(SPELLED)).strip()
        return _written(_value(ast.parse(source, mode="eval").body, source, 0))
    except (SyntaxError, RecursionError, MemoryError):
        raise ToolError(f"'{expression}' is no arithmetic. Write numbers, + - * / ** and parentheses") from None
    except ZeroDivisionError:
        raise ToolError(f"'{expression}' divides by zero") from None
    except (DecimalException, ArithmeticError, ValueError) as error:
        raise ToolError(f"'{expression}' has no value that can be told ({type(error).__name__})") from None


def _value(node: ast.expr, source: str, depth: int) -> Decimal:
    if depth > DEEPEST:
        raise ToolError(f"it is nested more than {DEEPEST} deep")
    match node:
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            return _bounded(Decimal(number))
        case ast.Constant(value=float()):  # as it is written: what was parsed has 16 digits of it
            return _bounded(Decimal((ast.get_source_segment(source, node) or "").replace("_", "")))
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
            value = _value(inner, source, depth + 1)
            return value.copy_negate() if isinstance(sign, ast.USub) else value
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in SIGNS:
            one, other = _value(left, source, depth + 1), _value(right, source, depth + 1)
            if not other and isinstance(sign, ast.Div | ast.FloorDiv | ast.Mod):
                raise ZeroDivisionError
            return _bounded(SIGNS[type(sign)](one, other))
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]) if name in FUNCTIONS:
            return _called(name, [_value(one, source, depth + 1) for one in given])
        case ast.Name(id=name) if name in NAMES:
            return NAMES[name]
    known = listed([*FUNCTIONS, *NAMES])
    raise ToolError(f"'{ast.unparse(node)[:40]}' is no arithmetic. Beside numbers and operators it knows: {known}")


def _called(name: str, values: list[Decimal]) -> Decimal:
    try:
        return _bounded(FUNCTIONS[name](*values))
    except TypeError:
        raise ToolError(f"{name} takes another number of values than {len(values)}") from None


def _exactly(work: Callable[[Decimal, Decimal], Decimal], one: Decimal, other: Decimal) -> Decimal:
    """Whole and short numbers stay as they are; longer fractions are rounded once."""
    value = work(one, other)
    return value if value == value.to_integral_value() else CONTEXT.plus(value)


def _floor(value: Decimal) -> Decimal:
    return Decimal(math.floor(value))


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    if abs(exponent) * max(1, abs(base.adjusted()) + 1) > LARGEST * 4:
        raise ToolError(f"the power has too many digits; {LARGEST} can be told")
    if exponent == exponent.to_integral_value() and exponent >= 0 and base == base.to_integral_value():
        return Decimal(int(base) ** int(exponent))
    return CONTEXT.power(base, exponent)


def _factorial(value: Decimal) -> Decimal:
    if value != value.to_integral_value() or not 0 <= value <= 400:
        raise ToolError("factorial takes a whole number from 0 to 400")
    return Decimal(math.factorial(int(value)))


def _rounded(value: Decimal, places: Decimal = Decimal(0)) -> Decimal:
    if abs(places) > DIGITS:
        raise ToolError(f"round takes at most {DIGITS} places")
    return value.quantize(Decimal(1).scaleb(-int(places)), context=EXACT)


def _float(function: Callable[..., float]) -> Callable[..., Decimal]:
    """Through 64-bit floating point, whose last digit is left out."""

    def work(*values: Decimal) -> Decimal:
        return Decimal(f"{function(*map(float, values)):.15g}")

    return work


SIGNS: Mapping[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: lambda one, other: _exactly(EXACT.add, one, other),
    ast.Sub: lambda one, other: _exactly(EXACT.subtract, one, other),
    ast.Mult: lambda one, other: _exactly(EXACT.multiply, one, other),
    ast.Div: CONTEXT.divide,
    ast.FloorDiv: lambda one, other: _floor(EXACT.divide(one, other)),
    ast.Mod: lambda one, other: EXACT.subtract(one, EXACT.multiply(other, _floor(EXACT.divide(one, other)))),
    ast.Pow: _power,
}
FUNCTIONS: Mapping[str, Callable[..., Decimal]] = {
    "abs": Decimal.copy_abs, "round": _rounded, "min": min, "max": max, "sqrt": CONTEXT.sqrt, "exp": CONTEXT.exp,
    "ln": CONTEXT.ln, "log10": CONTEXT.log10, "log": _float(math.log), "factorial": _factorial,
    "floor": _floor, "ceil": lambda value: Decimal(math.ceil(value)),
    "sin": _float(math.sin), "cos": _float(math.cos), "tan": _float(math.tan),
    "radians": _float(math.radians), "degrees": _float(math.degrees),
}  # fmt: skip


def _bounded(value: Decimal) -> Decimal:
    if not value.is_finite() or abs(value.adjusted()) > LARGEST:
        raise ToolError(f"a number on the way has more than {LARGEST} digits")
    return value


def _written(value: Decimal) -> str:
    """Without an exponent where that is short, and without zeros that say nothing."""
    if value == value.to_integral_value() and value.as_tuple().exponent in (0, *range(-SHOWN * 4, 0)):
        return str(int(value))
    rounded = Context(prec=SHOWN).plus(value)
    text = format(rounded.normalize(), "f")
    return text if len(text) <= 2 * SHOWN else str(rounded.normalize())
