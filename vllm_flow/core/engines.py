"""Engines kept open: equal options are one engine, so all jobs of a sweep share one set of weights."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self


class Engines:
    """Opens shared resources on first use and closes them all at the end. Use as a context manager, or call `close`."""

    def __init__(self) -> None:
        self._open: dict[Any, Any] = {}

    def open(self, options: Any) -> Any:
        """The live object for these options, which are hashable; opened once."""
        if options not in self._open:
            self._open[options] = options.open()
        return self._open[options]

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
