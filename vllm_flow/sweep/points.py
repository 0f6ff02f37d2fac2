"""Points: what a sweep is made of, and what became of each. A single run is a sweep of one point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Literal

from vllm_flow.core.errors import FlowError, told
from vllm_flow.core.spec import RunSpec

MAX_SHOWN = 120
Status = Literal["finished", "failed", "interrupted", "not run"]


@dataclass(frozen=True)
class Point:
    """One configuration to be run in a folder of its own."""

    folder: Path
    """Where its record is, or will be."""
    overrides: tuple[str, ...]
    """What the command line, or a sweeper, said for it."""
    spec: RunSpec
    resume: bool = False
    """Whether to go on with the record that is in the folder. One that is not there is begun."""
    retry_errors: bool = False
    """With `resume`: whether turns that failed are answered again."""


@dataclass(frozen=True)
class Outcome:
    """How a point ended."""

    folder: Path
    overrides: tuple[str, ...]
    status: Status
    answered: int = 0
    failed: int = 0
    """Turns without an answer; the point itself may well have finished."""
    error: Exception | None = None
    """Why the point, and not only some of its turns, failed."""

    def __str__(self) -> str:
        title = titled(self.overrides)
        return f"{self.folder}{f' ({title})' if title else ''}: {told(self.error) if self.error else self.status}"


def titled(overrides: Sequence[str]) -> str:
    """Overrides as a person reads them."""
    return shorten(" ".join(line.lstrip("+") for line in overrides), MAX_SHOWN, placeholder=" …")


class PointsFailed(FlowError):
    """Some points of a sweep failed; the others are done. One line for each."""

    def __init__(self, failures: Sequence[Outcome]) -> None:
        self.failures = tuple(failures)
        super().__init__("\n".join(map(str, self.failures)))


class LaunchFailed(FlowError):
    """A launcher of another's gave up, because a process of its own died perhaps. What is done is in its folders."""
