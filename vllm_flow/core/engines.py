"""Engines kept open: equal options are one engine, so all jobs of a sweep share one set of weights."""

from __future__ import annotations

import threading
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
        self._closing = ExitStack()

    def open(self, options: Any) -> Any:
        """The live object for these options; opened once. They are compared, for a mapping in them has no hash."""
        with self._door:
            for known, live in self._open:
                if known == options:
                    return live
            live = options.open()
            self._closing.callback(live.close)
            self._open.append((options, live))
            return live

    def close(self) -> None:
        """Close all, the last opened first, even when one of them fails to."""
        self._open.clear()
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
