"""A thread that computes, and has ended before the interpreter does, on whatever path the process ends.

Python stops a daemon thread where it comes back from C++ into an interpreter that is being taken down, by unwinding its
stack; PyTorch's code forbids that, and the process aborts ("terminate called without an active exception"). For any
other thread the interpreter waits before it tells anybody to end it. So this one is told, and waited for, at exit.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from vllm_flow.core.ending import at_end, not_at_end

log = logging.getLogger("vllm_flow")
SILENT_S = 2.0
"""How long the end of the process is put off without a word."""


class Worker:
    """One thread."""

    def __init__(self, work: Callable[[], None], end: Callable[[], None], name: str) -> None:
        """end: tells the work to end; called when the process does, unless the thread has been joined."""
        self._end = end
        self._over = threading.Event()
        """Set when the work is done. Until 3.13 a `Thread.join` that Ctrl-C cuts short takes the thread for ended."""
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)

    def start(self) -> None:
        at_end(self._at_end)
        self._thread.start()

    def join(self) -> None:
        """Wait for its end. Where Ctrl-C cuts that short, the end of the process waits for it."""
        self._over.wait()
        self._thread.join()
        not_at_end(self._at_end)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        finally:
            self._over.set()

    def _at_end(self) -> None:
        if self._thread.ident is None:  # it was never started
            return
        self._end()
        if not self._over.wait(SILENT_S):
            log.warning("waiting for the end of what is being loaded or computed; Ctrl-C ends it at once")
            self._over.wait()
