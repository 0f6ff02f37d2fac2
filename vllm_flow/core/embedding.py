"""Embedding: texts as vectors whose direction is what they mean, and the contract of whatever makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Vectors = NDArray[numpy.float32]
    """(texts, width), each of length 1: the cosine of two is their dot product."""

Kind = Literal["question", "passage"]
"""What a text is: some models read a question with other words before it than a passage that may answer it."""


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into vectors. A text's vector depends on the text and its kind alone."""

    async def embed(
        self, texts: Sequence[str], kind: Kind = "passage", *, keep: bool = False, tenant: str = ""
    ) -> Vectors:
        """One vector for each text, however long it is: nothing of it is left unread.

        keep: whether the vectors may be kept on this machine, as of documents; never those of what people say, since a
        vector tells much of its text. tenant: whose texts they are, of a turn; what is remembered of one's texts makes
        no other's answer come sooner.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """What the record should know: the model and its weights. JSON values."""
        ...

    def close(self) -> None: ...
