"""Work for the engine's thread that is no request for tokens; whoever handed it in waits for what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from vllm_flow.engines.transformers.failures import told

T = TypeVar("T")


class Call(Generic[T]):
    """One piece of it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.outcome: Future[T] = Future()

    def run(self) -> None:
        if not self.outcome.set_running_or_notify_cancel():  # nobody waits for it any more
            return
        try:
            self.outcome.set_result(self._work())
        except Exception as error:
            self.outcome.set_exception(told(error))
