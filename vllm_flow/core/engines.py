"""Engines kept open: equal options are one engine, so all jobs of a sweep share one set of weights."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self


class Engines:
    """Opens shared resources on first use and closes them all at the end. Use as a context manager, or call `close`.

    Runners in several threads may share them: whoever comes second waits until the first has opened.
    """

    def __init__(self) -> None:
        self._door = threading.Lock()
        self._open: list[tuple[Any, Any]] = []

    def __reduce__(self) -> tuple[type[Engines], tuple[()]]:
        return Engines, ()  # what is open stays in its process: a worker opens its own

    def open(self, options: Any) -> Any:
        """The live object for these options; opened once. They are compared, for a mapping in them has no hash."""
        with self._door:
            for known, live in self._open:
                if known == options:
                    return live
            live = options.open()
            self._open.append((options, live))
            return live

    def keep(self, wanted: Iterable[Any]) -> None:
        """Close those that none of these options mean: a process may have no room for two models."""
        with self._door:
            options = list(wanted)
            gone = [live for known, live in self._open if known not in options]
            self._open = [(known, live) for known, live in self._open if known in options]
        with ExitStack() as closing:
            for live in gone:
                closing.callback(live.close)

    def close(self) -> None:
        """Close all, the last opened first, even when one of them fails to."""
        self.keep(())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
