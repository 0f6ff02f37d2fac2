"""Shapes: which texts an answer may be, said in one of three ways, and what such an answer holds as data.

An engine that honours a shape lets the model write nothing else. Whether an answer that came is whole is found out here
nevertheless: it may have been cut off, and so it means the same of every engine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from vllm_flow.core.json_text import decode

Kind = Literal["schema", "choices", "regex"]
KINDS: tuple[Kind, ...] = ("schema", "choices", "regex")


@dataclass(frozen=True, slots=True)
class Shape:
    """Exactly one of three. Raises ValueError for none, or for more."""

    schema: str | None = None
    """A JSON Schema (draft 2020-12) as compact JSON, its keys in the order in which they are to be written."""
    choices: tuple[str, ...] | None = None
    """The whole answer is one of these texts."""
    regex: str | None = None
    """The whole answer fits this regular expression."""

    def __post_init__(self) -> None:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            said = f"{' and '.join(given)} are" if given else "nothing is"
            raise ValueError(f"a shape: {said} given. Give one of schema, choices, regex.")

    @classmethod
    def of_schema(cls, schema: Mapping[str, Any] | bool) -> Shape:
        """Raises ValueError and TypeError for what JSON cannot hold."""
        return cls(schema=json.dumps(schema, separators=(",", ":"), allow_nan=False))

    @property
    def kind(self) -> Kind:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def value(self) -> str | tuple[str, ...]:
        """What is given of that kind."""
        found: str | tuple[str, ...] = getattr(self, self.kind)
        return found


@dataclass(frozen=True, slots=True)
class Parsed:
    """What an answer of a shape holds: a value, or why it holds none."""

    value: Any = field(default=None, hash=False)
    """Of a schema the JSON value; else the text. None when there is a `problem`."""
    problem: str | None = None
    """Why the answer is not of its shape, such as that it was cut off; None when it is."""


def parsed(shape: Shape, text: str, cut: bool) -> Parsed:
    """What an answer holds. cut: whether it came to an end because it was as long as it may be."""
    if cut:  # what is left may well fit by itself: 12 of a 123
        what = f"the answer was cut off before its {shape.kind} was complete"
        return Parsed(problem=f"{what}. Raise sampling.max_tokens, or ask for a shorter one.")
    try:
        return Parsed(_value(shape, text))
    except ValueError as error:
        what = f"the answer does not fit its {shape.kind}: {error}"
        return Parsed(problem=f"{what}. Remove what ends it early, such as a stop text, or ask again.")


def _value(shape: Shape, text: str) -> Any:
    """Raises ValueError for a text that does not fit."""
    if shape.schema is None:
        fits = text in shape.choices if shape.choices is not None else re.fullmatch(shape.regex or "", text)
        if not fits:
            raise ValueError(f"{_brief(text)} is none of them" if shape.choices else f"{_brief(text)} is another text")
        return text
    from jsonschema.exceptions import best_match  # 0.1 s, and most runs have no shapes

    try:
        value = decode(text)
    except ValueError as error:
        raise ValueError(f"{_brief(text)}: {str(error).partition('. ')[0]}") from None
    try:
        wrong = best_match(_validator(shape.schema).iter_errors(value))
    except RecursionError:  # a schema that refers to itself goes as deep as it likes
        raise ValueError(f"{_brief(text)}: nested too deeply to be read") from None
    if wrong is not None:
        place = ".".join(map(str, wrong.absolute_path))
        raise ValueError(f"{place}: " * bool(place) + _brief(wrong.message, quoted=False))
    return value


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


def _brief(text: str, quoted: bool = True) -> str:
    shown = repr(text) if quoted else " ".join(text.split())
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
