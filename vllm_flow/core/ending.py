"""The end of the process: sessions that nobody closed are closed first, then whatever computes is ended.

That is done before Python calls the other finalizers: PyTorch's, which take away what a thread may be computing with.
A process that is the command's own goes without Python's own end where that takes long.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

INTERRUPTED = 130
"""The exit code of a process that is ended with Ctrl-C."""
_sessions: list[weakref.finalize[..., Any]] = []
_computing: dict[Callable[[], None], None] = {}
"""In the order in which they came."""


def at_end(call: Callable[[], None]) -> None:
    """Call it when the process ends. Of several the newest comes first."""
    atexit.unregister(_end)
    atexit.register(_end)  # the newest of what is registered there: it comes first
    _computing[call] = None


def not_at_end(call: Callable[[], None]) -> None:
    """It has been done, or need not be."""
    _computing.pop(call, None)


def before(closing: weakref.finalize[..., Any]) -> None:
    """Call this finalizer before all that."""
    _sessions[:] = [one for one in _sessions if one.alive] + [closing]


def _end() -> None:
    """Whoever does not want to wait and presses Ctrl-C gets a process that ends at once, and takes nothing down."""
    try:
        while _sessions:
            _sessions.pop()()
        while _computing:
            _computing.popitem()[0]()
    except KeyboardInterrupt:
        _go(INTERRUPTED)


def leave(code: int) -> None:
    """End the process when all that is registered for its end has been called, if it is worth it; else return.

    Python would first take apart what PyTorch and transformers have made, some 700,000 objects, for nothing: 0.2 s. It
    is left to it while a thread goes on that it waits for, and where a profiler or debugger wants to see the end.
    """
    waits = any(not one.daemon for one in threading.enumerate() if one is not threading.main_thread())
    if "torch" in sys.modules and not (waits or sys.getprofile() or sys.gettrace()):
        atexit._run_exitfuncs()
        _go(code)


def leave_interrupted() -> None:
    """End the process after Ctrl-C, when all that Python waits for is over and all that is registered has been called.

    A library's thread may still compute, such as those that transformers reads weights with: Python's own end would
    unwind its stack, and abort the process.
    """
    if sys.getprofile() or sys.gettrace():
        return
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    _go(INTERRUPTED)


def _go(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)
