"""Promises: what every part of a kind must do, one function each, so that a name says what is broken."""

from __future__ import annotations

from collections.abc import Iterable

from vllm_flow.testing.compare import named


class Broken(Exception):
    """One promise that was not kept; the name first, then what is wrong and what would be right."""

    def __init__(self, name: str, error: Exception) -> None:
        what = str(error) if isinstance(error, AssertionError) else f"it raised {named(error)}. It should not."
        super().__init__(f"{name}: {what}")
        self.__cause__ = error


def report(broken: Iterable[Broken]) -> None:
    """Raises one AssertionError with a line for each; the tracebacks are in its cause."""
    if found := list(broken):
        raise AssertionError("\n".join(map(str, found))) from ExceptionGroup("promises that were not kept", found)
