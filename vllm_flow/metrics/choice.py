"""Choice: which letter of a multiple choice an answer takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from vllm_flow.core.errors import shown
from vllm_flow.core.options import OptionProblem, not_empty
from vllm_flow.core.registry import metric

OPEN = r"[\s*_`\"'$(\[]*(?:\\(?:boxed|text|textbf|mathrm)\{)*\(?"
FORMS = (
    rf"(?i:\b(?:answer|choice|option)\b(?:\s+(?:is|was))?)\s*[:=]?{OPEN}(LETTER)(?![\w'’])",
    r"\\boxed\{(?:\\(?:text|textbf|mathrm)\{)?\(?(LETTER)(?!\w)",
    rf"\A{OPEN}(LETTER)(?=[*_`)\]]*[ \t]*(?:[.:,;)\]]|\n|\Z))",
    r"[(\[](LETTER)[)\]]|\*\*(LETTER)[.:)]?\*\*",
)
"""What says which letter is meant, the surest first; of one form the last in the text counts."""


@metric("answer/choice", higher_is_better=True)
@dataclass(frozen=True)
class Choice:
    """Whether the letter that the text takes is that of the reference: a letter, or its number counted from 0.

    It reads, in this order: `the answer is B`, `Answer: (B)`; `\\boxed{B}`; a text that begins with `B`, `B.` or `(B)`;
    `(B)` or `**B**` anywhere. A text that takes no letter is wrong. A letter must be written as in `letters`: an `a` in
    a sentence is no choice.
    """

    letters: Annotated[str, not_empty()] = "ABCD"
    """Those there are to choose from."""

    def problems(self) -> Iterator[OptionProblem]:
        if not self.letters.isalnum() or len(set(self.letters)) < len(self.letters):
            what = f"{shown(self.letters)} does not fit. Write each letter once, and nothing else, such as ABCD."
            yield OptionProblem(("letters",), what)

    def score(self, text: str, reference: Any) -> bool:
        return self.said(text) == self._letter(reference)

    def said(self, text: str) -> str | None:
        for form in _forms(self.letters):
            found = [next(filter(None, one.groups())) for one in form.finditer(text)]
            if found:
                return str(found[-1])
        return None

    def _letter(self, reference: Any) -> str:
        if isinstance(reference, int) and not isinstance(reference, bool) and 0 <= reference < len(self.letters):
            return self.letters[reference]
        if isinstance(reference, str) and len(reference.strip()) == 1 and reference.strip() in self.letters:
            return reference.strip()
        problem = f"the reference {shown(reference)} is none of {self.letters}"
        raise ValueError(f"{problem}. Give a letter, or its number counted from 0.")


@cache
def _forms(letters: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(form.replace("LETTER", f"[{re.escape(letters)}]")) for form in FORMS)
