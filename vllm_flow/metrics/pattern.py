"""Pattern: what a regular expression finds in an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from vllm_flow.core.errors import shown
from vllm_flow.core.options import OptionProblem, not_empty
from vllm_flow.core.registry import metric
from vllm_flow.metrics.references import texts_of


@metric("answer/regex", higher_is_better=True)
@dataclass(frozen=True)
class Pattern:
    """Whether a regular expression is found in the text and, where the row has a reference, whether it found that.

    What counts as found is the last match: its first group, or all of it where the pattern has no group.
    """

    pattern: Annotated[str, not_empty()]
    """In Python's syntax, such as `####\\s*(\\S+)`."""
    ignore_case: bool = False

    def problems(self) -> Iterator[OptionProblem]:
        try:
            re.compile(self.pattern)
        except re.error as error:
            what = f"{shown(self.pattern)} is no regular expression: {error}. Mend it."
            yield OptionProblem(("pattern",), what)

    def score(self, text: str, reference: Any = None) -> bool:
        found = self.said(text)
        if found is None or reference is None:
            return found is not None
        return self._folded(found) in map(self._folded, texts_of(reference))

    def said(self, text: str) -> str | None:
        matches = list(re.finditer(self.pattern, text, re.IGNORECASE if self.ignore_case else 0))
        return (matches[-1][1 if matches[-1].re.groups else 0] or "").strip() if matches else None

    def _folded(self, text: str) -> str:
        return text.strip().casefold() if self.ignore_case else text.strip()
