"""Every error a user can meet, as one tree, each message in one form: `where: what is wrong. What would be right.`

FlowError
├── ConfigError        the configuration is wrong; carries every fault found
├── InputError         an input file or row cannot be read
├── ModelError         weights cannot be had or do not fit together
├── PointsFailed       some points of a sweep failed, the others are done (in sweep, where points are known)
├── LaunchFailed       a launcher of another's gave up (in sweep, too)
├── EngineError        an engine refuses or fails a request
│   └── ContextOverflow    prompt and answer do not fit the model's context
├── WebError           a page of the web is not allowed or cannot be had
├── ToolError          a tool cannot do what it is called for
├── SourceError        a document or another source of context cannot be read
├── MediaError         an image or a sound cannot be read
├── StoreError         a conversation cannot be read or written
│   └── TurnConflict       a turn number is taken by another message
├── RecordError        the record of a run cannot be written
├── TurnFailed         an answer was wanted of a turn that has none (in values, where results are known)
└── StageError         a stage failed while it ran; names node and stage
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches


class FlowError(Exception):
    """The base of all of them. The command prints it in one line, without a traceback."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a configuration."""

    path: str
    """Dotted YAML path, such as `graph.prompt.use`."""
    problem: str
    """What is wrong, and what would be right."""
    origin: str = ""
    """`file:line`, `command line`, or empty when the configuration came from Python."""

    def __str__(self) -> str:
        return f"{self.path} ({self.origin}): {self.problem}" if self.origin else f"{self.path}: {self.problem}"


class ConfigError(FlowError):
    """All faults of a configuration at once, one line each."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class InputError(FlowError):
    pass


class ModelError(FlowError):
    pass


class EngineError(FlowError):
    pass


class ContextOverflow(EngineError):
    pass


class WebError(FlowError):
    pass


class ToolError(FlowError):
    """Raised by a tool: what the model is to read of it, and what the user is to be told instead of an answer."""

    def __init__(self, problem: str, say: str = "") -> None:
        super().__init__(problem)
        self.say = say


class SourceError(FlowError):
    pass


class MediaError(FlowError):
    pass


class StoreError(FlowError):
    pass


class TurnConflict(StoreError):
    pass


class RecordError(FlowError):
    pass


class StageError(FlowError):
    """Raised by the runner around whatever a stage raised."""

    def __init__(self, node: str, use: str, cause: BaseException) -> None:
        super().__init__(f"graph.{node} ({use}): {told(cause)}")
        self.node = node
        self.use = use
        self.cause = cause


def told(error: BaseException) -> str:
    """An error in one line: our own as it is, any other behind the name of its class."""
    text = " ".join(str(error).split())
    if isinstance(error, FlowError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def nearest(word: object, names: Iterable[object]) -> str:
    """` Did you mean 'x'?` for the closest of `names`, or nothing. YAML has names that are no text."""
    close = get_close_matches(str(word), sorted(map(str, names)), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def listed(names: Iterable[object]) -> str:
    """`a, b, c`, or `none`."""
    return ", ".join(sorted(map(str, names))) or "none"


def shown(value: object) -> str:
    """A configured value in one short line, as YAML would write it."""
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
