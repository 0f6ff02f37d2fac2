"""Structure: whether an answer is JSON, and of the shape that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from vllm_flow.core.json_text import decode
from vllm_flow.core.options import OptionProblem
from vllm_flow.core.registry import metric

FENCE = re.compile(r"\s*```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```\s*", re.DOTALL | re.IGNORECASE)


@metric("answer/json", higher_is_better=True)
@dataclass(frozen=True)
class Json:
    """Whether the text is one JSON value (RFC 8259: no NaN, no key twice), and fits a schema if there is one."""

    schema: Mapping[str, Any] | None = None
    """A JSON Schema, draft 2020-12. It refers to nothing outside itself: nothing is fetched."""
    fenced: bool = True
    """Whether the value may stand in a Markdown fence, nothing around it."""

    def problems(self) -> Iterator[OptionProblem]:
        from jsonschema import Draft202012Validator, SchemaError

        try:
            Draft202012Validator.check_schema(self.schema or {})
        except SchemaError as error:
            place = ("schema", *map(str, error.absolute_path))
            yield OptionProblem(place, f"this is no JSON Schema: {error.message}. Mend it.")

    def score(self, text: str) -> bool:
        fence = FENCE.fullmatch(text) if self.fenced else None
        try:
            value = decode(fence[1] if fence else text)
        except ValueError:
            return False
        return self.schema is None or bool(self._validator.is_valid(value))

    @cached_property
    def _validator(self) -> Any:
        from jsonschema import Draft202012Validator
        from referencing import Registry

        return Draft202012Validator(self.schema or {}, registry=Registry())  # the default one fetches what it lacks
