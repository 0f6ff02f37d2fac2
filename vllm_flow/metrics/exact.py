"""Exact: whether an answer is, or has in it, what the input row gives as the right one."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Literal

from vllm_flow.core.registry import metric
from vllm_flow.metrics.references import texts_of

ARTICLES = re.compile(r"\b(a|an|the)\b")
IN_A_NUMBER = re.compile(r"(?<=\d)[.,](?=\d)|(?<!\w)[-−](?=\d)")


@metric("answer/exact", higher_is_better=True)
@dataclass(frozen=True)
class Exact:
    """Whether the text is the reference, or one of several, apart from case, punctuation and articles.

    The normalisation of SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250), except that a number keeps its sign and its
    point: -1.5 is not 15, and that what is nothing but articles or punctuation keeps them: an answer that says nothing
    is not right because the reference is "A". How many spaces there are never counts.
    """

    ignore_case: bool = True
    ignore_punctuation: bool = True
    ignore_articles: bool = True
    """Leave out a, an and the."""

    def score(self, text: str, reference: Any) -> bool:
        return self.said(text) in {self.said(one) for one in texts_of(reference)}

    def said(self, text: str) -> str:
        text = unicodedata.normalize("NFC", text)
        if self.ignore_case:
            text = text.casefold()
        for ignored, left in ((self.ignore_punctuation, _spoken), (self.ignore_articles, _without_articles)):
            if ignored and (rest := left(text)).strip():
                text = rest
        return " ".join(text.split())


def _spoken(text: str) -> str:
    """Without punctuation, but for that of numbers."""
    kept = {found.start() for found in IN_A_NUMBER.finditer(text)}
    marks = {place for place, one in enumerate(text) if unicodedata.category(one).startswith("P")}
    dropped = marks - kept
    return "".join(one for place, one in enumerate(text) if place not in dropped)


def _without_articles(text: str) -> str:
    return ARTICLES.sub(" ", text)


@metric("answer/contains", higher_is_better=True)
@dataclass(frozen=True)
class Contains:
    """Whether the reference, or one of several, stands in the text."""

    need: Literal["any", "all"] = "any"
    """Of several references."""
    ignore_case: bool = True

    def score(self, text: str, reference: Any) -> bool:
        where = self._folded(text)
        found = [self._folded(one) in where for one in texts_of(reference)]
        return all(found) if self.need == "all" else any(found)

    def _folded(self, text: str) -> str:
        return text.casefold() if self.ignore_case else text
