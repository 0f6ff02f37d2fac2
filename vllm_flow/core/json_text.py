"""JSON text as plain values, read strictly: what RFC 8259 calls unsafe is an error, and never another value than meant.

Whoever reads what a person or a model wrote reads it here: what could not be written again would end a whole run later.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from vllm_flow.core.json_checks import brief


def decode(text: str) -> Any:
    """JSON text as plain values. Raises ValueError for anything RFC 8259 calls unsafe: NaN, a key given twice."""
    try:
        return json.loads(text, **_STRICT)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON, at character {error.pos + 1}: {error.msg}. Write one JSON value.") from None
    except (ValueError, RecursionError) as error:
        raise _unsafe(error) from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {brief(name)} is given twice. Keep one of them.")
        found[name] = value
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON. Write a finite number or null.")


def _float(digits: str) -> float:
    if math.isinf(value := float(digits)):
        raise ValueError(f"{brief(digits)[1:-1]} is too large a number. Write a smaller one.")
    return value


_STRICT: Any = {"object_pairs_hook": _without_repeats, "parse_constant": _constant, "parse_float": _float}
_DECODER = json.JSONDecoder(**_STRICT)


def decode_first(text: str) -> tuple[Any, int]:
    """The value that a text begins with, and where it ends. Raises ValueError as `decode`, but for the place."""
    try:
        return _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg}.") from None
    except (ValueError, RecursionError) as error:
        raise _unsafe(error) from None


def _unsafe(error: Exception) -> ValueError:
    if isinstance(error, RecursionError):
        return ValueError("nested too deeply to be read. Write it flatter.")
    if "integer string conversion" in str(error):
        return ValueError("a whole number of thousands of digits. Write a smaller one.")
    return ValueError(str(error))
