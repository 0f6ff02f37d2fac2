"""Ranges of the sampling parameters that are numbers, read from their declaration: what a schedule may give them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from vllm_flow.core.options import schema_of
from vllm_flow.core.phrases import JsonSchema, takes
from vllm_flow.core.sampling import Sampling


@dataclass(frozen=True, slots=True)
class Range:
    low: float
    high: float
    above: float
    """The value is more than this."""
    whole: bool
    phrase: str

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high and value > self.above

    def rounded(self, value: float) -> float:
        """A whole number, half up, of a parameter that is one. Raises TypeError for what is no number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"it gave {value!r}, which is no number")
        return math.floor(value + 0.5) if self.whole and math.isfinite(value) else float(value)


def _ranges() -> Iterator[tuple[str, Range]]:
    for name, schema in schema_of(Sampling)["properties"].items():
        numbers: list[JsonSchema] = [
            one for one in schema.get("anyOf", [schema]) if one.get("type") in ("number", "integer")
        ]
        if numbers:
            (one,) = numbers
            low, high = one.get("minimum", -math.inf), one.get("maximum", math.inf)
            yield name, Range(low, high, one.get("exclusiveMinimum", -math.inf), one["type"] == "integer", takes(one))


RANGES = dict(_ranges())
"""By name; parameters that are lists or mappings are not among them."""
