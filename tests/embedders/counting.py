"""Embedders without a model, whose vectors a test can reckon by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from vllm_flow.core.embedding import Kind


class WordEmbedder:
    """How often a text has each of the words, scaled to length 1; a text with none of them is a vector of zeros.

    `asked` has how many texts each call had, and whether they may be kept.
    """

    def __init__(self, *words: str) -> None:
        self.words = words
        self.asked: list[tuple[int, Kind, bool]] = []

    async def embed(self, texts: Sequence[str], kind: Kind = "passage", *, keep: bool = False, tenant: str = "") -> Any:
        self.asked.append((len(texts), kind, keep))
        found = numpy.zeros((len(texts), len(self.words)), dtype=numpy.float32)
        for place, text in enumerate(texts):
            found[place] = [text.casefold().split().count(word) for word in self.words]
        lengths = numpy.linalg.norm(found, axis=1, keepdims=True)
        return found / numpy.where(lengths == 0, 1, lengths)

    def describe(self) -> Mapping[str, Any]:
        return {"embedder": "words"}

    def close(self) -> None:
        pass
