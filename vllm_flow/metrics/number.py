"""Number: whether the last number that an answer names is the right one."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any

from vllm_flow.core.errors import shown
from vllm_flow.core.options import at_least
from vllm_flow.core.registry import metric
from vllm_flow.metrics.references import text_of

NUMBER = re.compile(
    r"(?:(?<![\w.)\]])[-+−])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?"
    r"|(?:(?<![\w.)\]])[-+−])?(?<!\d)\.\d+(?:[eE][-+]?\d+)?"
)


@metric("answer/number", higher_is_better=True)
@dataclass(frozen=True)
class Number:
    """Whether the last number in the text is that of the reference, 1,000 being 1000.

    A text without a number is wrong. Fractions are read as two numbers and percent signs are not read.
    """

    tolerance: Annotated[float, at_least(0)] = 0.0
    """By how much it may differ."""
    relative: Annotated[float, at_least(0)] = 0.0
    """By which share of the larger of the two it may differ, where that is more."""
    after: str = ""
    """Where this mark stands, such as `####`, only what follows the last one is read."""

    def score(self, text: str, reference: Any) -> bool:
        wanted = self._last(text_of(reference))
        if wanted is None:
            raise ValueError(f"the reference {shown(reference)} has no number. Give one.")
        found = self._last(text)
        return found is not None and math.isclose(found, wanted, rel_tol=self.relative, abs_tol=self.tolerance)

    def said(self, text: str) -> str | None:
        found = self._last(text)
        return None if found is None else repr(found + 0.0)  # -0.0 is 0.0

    def _last(self, text: str) -> float | None:
        if self.after:
            text = text.rpartition(self.after)[2]
        found = NUMBER.findall(text)
        return float(found[-1].replace(",", "").replace("−", "-")) if found else None
