"""Describers: what tells in words what a picture shows, for models that read nothing but text, and their contracts.

What they say of a medium depends on the medium alone, so it is asked for once for each digest. Speech has a contract of
its own, see transcripts.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from vllm_flow.core.errors import MediaError
from vllm_flow.core.media import Image, Medium
from vllm_flow.core.transcripts import Transcriber

GONE = "its content is not here any more"
Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the picture, from its upper left corner."""


@dataclass(frozen=True, slots=True)
class Tag:
    """What a picture may show."""

    label: str
    probability: float
    """From 0 to 1, as the classifier has it; of all its labels together 1."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in a picture."""

    text: str
    box: Box
    confidence: float
    """From 0 to 1, as the reader has it."""


@runtime_checkable
class Tagger(Protocol):
    """Says what a picture shows."""

    async def tags(self, image: Image, *, tenant: str = "") -> tuple[Tag, ...]:
        """The most probable labels, the most probable first.

        tenant: whose picture it is; what is remembered of it makes no other's answer come sooner. Raises NotDescribed
        for a picture that cannot be looked at.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """What the record should know: the model and its weights. JSON values."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class PageReader(Protocol):
    """Reads what is written in a picture."""

    async def read(self, image: Image, *, tenant: str = "") -> tuple[Line, ...]:
        """The lines, in the order in which one reads them; none where nothing is written.

        tenant: as of a Tagger. Raises NotDescribed for a picture that cannot be looked at.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """What the record should know: the model and its weights. JSON values."""
        ...

    def close(self) -> None: ...


def called(describer: Tagger | PageReader | Transcriber) -> str:
    """What its users call it: its model, or the library that has one."""
    about = describer.describe()
    found = next((about[key] for key in ("model", "tagger", "reader", "transcriber") if about.get(key)), "")
    return str(found)


class NotDescribed(MediaError):
    """Of one medium, such as one whose content is gone: a clause, without the medium's name and without a full stop.

    The turn goes on, and says so. Any other error ends it.
    """


@contextmanager
def opening(medium: Medium) -> Iterator[None]:
    """For reading its content within. Raises NotDescribed where that is gone, or broken."""
    if medium.data is None:
        raise NotDescribed(GONE)
    try:
        yield
    except MediaError as problem:
        raise NotDescribed(str(problem).removeprefix(f"{medium.source}: ").rstrip(".")) from problem
