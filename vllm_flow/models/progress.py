"""Progress of long steps: downloads and conversions say what they do, and one observer decides how to show it.

Without an observer each step is one line of the `vllm_flow` logger, as a warning so that it is seen by default: nobody
should wonder why a first run takes a minute.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[str, int, int], None]
"""Called with a step such as `smollm2: convert`, how much of it is done, and how much there is; first with 0 done."""

log = logging.getLogger("vllm_flow")
_observers: list[Report] = []


@contextmanager
def observed_by(report: Report) -> Iterator[None]:
    """Send all progress, from any thread, to `report` until the block ends."""
    _observers.append(report)
    try:
        yield
    finally:
        _observers.remove(report)


def tell(step: str, done: int, total: int) -> None:
    """The default `report`: to the newest observer, else to the log."""
    if _observers:
        _observers[-1](step, done, total)
    elif done == 0:
        size = f" ({total / 1e6:.0f} MB)" if total >= 1_000_000 else ""
        log.warning("%s%s, once", step, size)
