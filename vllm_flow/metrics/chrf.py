"""chrF: how much of a reference an answer has in common with it, in runs of characters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import Annotated, Any

from vllm_flow.core.options import at_least
from vllm_flow.core.registry import metric
from vllm_flow.metrics.references import texts_of

MISSING = "the package sacrebleu is not installed. Install it: pip install 'vllm-flow[eval]'."


@metric("text/chrf", higher_is_better=True)
@dataclass(frozen=True)
class Chrf:
    """chrF of the text against the reference, or the best of several, from 0 to 100, as sacrebleu computes it.

    Popović 2015, W15-3049. It is that of single sentences: their mean is not the chrF of a corpus.
    """

    word_order: Annotated[int, at_least(0)] = 0
    """Runs of so many words count too; 2 gives chrF++."""
    char_order: Annotated[int, at_least(1)] = 6
    """The longest run of characters."""
    beta: Annotated[int, at_least(1)] = 2
    """How much more recall counts than precision."""

    def problems(self) -> Iterator[str]:
        if find_spec("sacrebleu") is None:
            yield MISSING

    def score(self, text: str, reference: Any) -> float:
        return float(self._chrf.sentence_score(text, list(texts_of(reference))).score)

    @cached_property
    def _chrf(self) -> Any:
        from sacrebleu.metrics import CHRF

        return CHRF(char_order=self.char_order, word_order=self.word_order, beta=self.beta)
