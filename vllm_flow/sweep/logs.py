"""Logs: what is logged while a point runs goes into that point's folder, however many run at once."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from vllm_flow.core.errors import FlowError

FILE = "vllm-flow.log"
_current: ContextVar[Path | None] = ContextVar("vllm_flow_point", default=None)
"""Tasks inherit it, so whatever a point starts logs as that point."""


class _PointLog(logging.FileHandler):
    """A log that a full disk cuts short. What it lacks is on the terminal; a second fault would hide the first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / FILE, encoding="utf-8", delay=True)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self.addFilter(lambda _: _current.get() == folder)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


@contextmanager
def point_log(folder: Path) -> Iterator[Callable[[Exception], None]]:
    """Our own log messages go into the folder, in a file that exists once there is one.

    What is yielded writes an error down, with its traceback if it is none of ours: it belongs there, and not onto the
    terminal.
    """
    handler, logger, token = _PointLog(folder), logging.getLogger("vllm_flow"), _current.set(folder)
    logger.addHandler(handler)

    def written(error: Exception) -> None:
        text = str(error) if isinstance(error, FlowError) else "".join(traceback.format_exception(error)).rstrip()
        handler.handle(logging.makeLogRecord({"name": "vllm_flow", "levelname": "ERROR", "levelno": 40, "msg": text}))

    try:
        yield written
    finally:
        _current.reset(token)
        logger.removeHandler(handler)
        handler.close()
