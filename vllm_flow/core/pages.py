"""Pages: what a guarded GET gives, and the contract of whatever makes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Page:
    """A text that a server gave."""

    url: str
    """Where it was found at last, redirects followed."""
    media_type: str
    """`text/html`, `application/json`, …, in small letters; empty when the server did not say."""
    text: str


@runtime_checkable
class Web(Protocol):
    """Gets pages."""

    async def get(self, url: str) -> Page:
        """Raises WebError for what is not allowed, cannot be had, or is no text."""
        ...
