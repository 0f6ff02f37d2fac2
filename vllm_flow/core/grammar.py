"""Grammars: a shape as llguidance reads it, which tells at every token of an answer which tokens may come next.

Of three libraries that do this llguidance (MIT) was chosen. Measured with SmolLM2's 49,152 tokens, three shapes and 60
random answers of each, on one core:

| | llguidance 1.9.1 | xgrammar 0.2.9 | outlines-core 0.2.14 |
|---|---|---|---|
| answers that are valid | 180 of 180 | 178 of 180 (control characters in texts) | 137 of 180 (no bounds of numbers) |
| a schema compiled | 0.7 to 1.1 ms | 5 ms | 280 to 590 ms |
| the tokens that may come, mean and 99th percentile | 41 and 389 µs | 4 and 16 µs | 8 and 57 µs |
| depends on | nothing | torch, transformers, triton, pydantic, tvm-ffi | nothing |
| wheel | 3 MB, one for all Pythons | 1.3 MB | 2.3 MB |

It has wheels for Linux, macOS and Windows on x86-64 and ARM, refuses what it cannot keep instead of ignoring it, and
imports in 40 ms without torch, so `check` asks it as well. That its masks take longer than others' is little beside a
model: 32 rows of SmolLM2 held to 32 schemas spend 3 % of a decode step on it (CPU time, one thread, bfloat16).
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Mapping
from typing import Any

from vllm_flow.core.phrases import JsonSchema
from vllm_flow.core.schema_words import LARGEST, NOTES, kinds_of
from vllm_flow.core.shape import Shape

LARGEST_UNASKED = {"integer": 10**15, "number": 10**9}
"""How far from 0 a number goes whose schema does not bound it: else a model might write digits for ever.

With six decimals that leaves each number as it was written, in all readers of JSON.
"""
SMALLEST = 1e-6
"""Numbers have up to six decimals."""
SEPARATORS: Any = {"item_separator": ", ?", "key_separator": ": ?", "whitespace_flexible": False}
"""Between the parts of a JSON text a space at most, as models have mostly read it; no line ends, which could go on."""


def grammar_of(shape: Shape) -> str:
    """What llguidance compiles."""
    from llguidance import LLMatcher

    if shape.schema is not None:
        return LLMatcher.grammar_from_json_schema(json.dumps(held(json.loads(shape.schema))), overrides=SEPARATORS)
    return LLMatcher.grammar_from_regex(shape.regex or "|".join(map(_escaped, shape.choices or ())))


def problem_of(shape: Shape) -> str:
    """Why no answer can be held to it, and what would be right; empty when one can."""
    if shape.schema is not None:
        return problem_of_schema(json.loads(shape.schema))
    if shape.regex is not None:
        return problem_of_regex(shape.regex)
    return next(filter(None, map(problem_of_text, shape.choices or ())), "") if shape.choices else "there are none."


def problem_of_schema(schema: JsonSchema) -> str:
    """Why no answer can be held to it, as far as the library knows; empty when one can."""
    said = _refused(schema)
    return f"no answer can be held to it: {said}. Change it." if said else ""


def _refused(schema: JsonSchema) -> str:
    """What the library says against it."""
    from llguidance import LLMatcher

    at_fault, said = LLMatcher.validate_grammar_with_warnings(grammar_of(Shape.of_schema(schema)))
    if not at_fault:
        return ""
    first, _, error = said[0].removeprefix("Unsatisfiable schema: ").partition("\nerror: ")
    return (error or first).partition("\n")[0].rstrip(".")


def problem_of_regex(regex: str) -> str:
    """Why no answer can be held to it; empty when one can. Python has to read it, too: it looks at what came."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(regex)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        return f"it is no regular expression: {error}. Change it."
    if not regex:
        return "it is empty, and so would be every answer. Remove it."
    said = _refused({"type": "string", "pattern": regex})
    if said.startswith("Regex is empty"):
        return "no text fits it. Change it."
    return f"no answer can be held to it: {said}. Write it without." if said else ""


def problem_of_text(text: str) -> str:
    """Why a choice cannot be written; empty when it can."""
    if not text:
        return "an empty text is no answer. Remove it."
    try:
        text.encode()
    except UnicodeEncodeError:
        return "it has half a character in it, which no model can write. Remove it."
    return ""


def held(schema: Any, numbers: bool = True) -> Any:
    """The schema that answers are held to: what is valid under it is so under the one given, and no more is left open.

    No properties but those that are named; and if `numbers`, these as `LARGEST_UNASKED` and `SMALLEST` say.
    """
    if not isinstance(schema, Mapping):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            found[key] = {name: held(one, numbers) for name, one in value.items()}
        elif key in ("anyOf", "prefixItems"):
            found[key] = [held(one, numbers) for one in value]
        elif key == "items":
            found[key] = held(value, numbers)
        elif key not in NOTES:
            found[key] = value
    if "enum" in schema or "const" in schema:
        return found
    kinds = kinds_of(schema)
    if "object" in kinds:
        found["additionalProperties"] = False
    if "prefixItems" in schema and "items" not in schema:
        found["items"] = False
    if not numbers or not {"integer", "number"} & set(kinds):
        return found
    kind = "number" if "number" in kinds else "integer"
    found = {key: value for key, value in found.items() if not key.startswith("exclusive")} | _bounded(schema, kind)
    return found | {"multipleOf": SMALLEST} if kind == "number" else found


def _bounded(schema: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """The bounds of numbers, as two that belong to them: the library lets excluded ones through here and there.

    One that is left out is `LARGEST_UNASKED`, or further out where the other is there already.
    """
    lows = [schema["minimum"]] if "minimum" in schema else []
    highs = [schema["maximum"]] if "maximum" in schema else []
    if "exclusiveMinimum" in schema:
        lows.append(_next(schema["exclusiveMinimum"], kind, 1))
    if "exclusiveMaximum" in schema:
        highs.append(_next(schema["exclusiveMaximum"], kind, -1))
    largest = LARGEST_UNASKED[kind]
    low = max(lows, default=-largest if not highs or min(highs) > -largest else -LARGEST)
    high = min(highs, default=largest if not lows or max(lows) < largest else LARGEST)
    return {"minimum": low, "maximum": high}


def _next(value: float, kind: str, way: int) -> float:
    """The nearest number that can be written beyond a bound that is excluded itself."""
    if kind == "integer":
        return math.floor(value) + 1 if way > 0 else math.ceil(value) - 1
    return round(value + way * SMALLEST, 6)


def _escaped(text: str) -> str:
    """As a regular expression that fits this text alone."""
    return "".join(one if one.isascii() and one.isalnum() else f"\\x{{{ord(one):x}}}" for one in text)
