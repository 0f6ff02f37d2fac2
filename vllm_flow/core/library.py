"""A library: passages to look something up in, as a folder of documents gives them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from vllm_flow.core.segments import Item


@dataclass(frozen=True, slots=True)
class Library:
    """Equal ones have equal passages. Nothing of it is in a prompt until it has been looked up."""

    digest: str
    """Of all passages, in hex: what a record keeps of them."""
    passages: tuple[Item, ...] = field(default=(), compare=False, repr=False)
    """Each with its source, in the order of the documents."""

    @classmethod
    def of(cls, passages: Iterable[Item]) -> Self:
        kept, digest = tuple(passages), hashlib.sha256()
        for one in kept:
            for text in (one.source, one.text):
                content = text.encode("utf-8", "backslashreplace")
                digest.update(len(content).to_bytes(8) + content)
        return cls(digest.hexdigest(), kept)
