"""The end of the process: what has to come after everything that puts itself in order then, as a session does.

Python calls finalizers in the reverse order of their making, so the one here is made when this is imported: whoever
ends something with a finalizer of its own imports this first.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable


class _Process:
    """Lives as long as the process."""


_process = _Process()
_last: dict[Callable[[], None], None] = {}
"""In the order in which they came."""


def _end() -> None:
    while _last:
        _last.popitem()[0]()


weakref.finalize(_process, _end)


def at_last(call: Callable[[], None]) -> None:
    """Call it when the process ends, after all finalizers; what was given last comes first."""
    _last[call] = None


def not_at_last(call: Callable[[], None]) -> None:
    """It has been done, or need not be."""
    _last.pop(call, None)
