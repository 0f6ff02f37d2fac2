"""Transcripts: what is said in a recording, piece by piece with its times, and the contract of whatever writes it down.

A transcript depends on the recording and on how it was asked for, and on nothing beside; so it is asked for once, and
recorded to be told again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from vllm_flow.core.media import Audio

Task = Literal["transcribe", "translate"]
"""Write down in the language that is spoken, or in English."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """A stretch of speech, mostly a sentence."""

    start_s: float
    """Seconds from the recording's beginning."""
    end_s: float
    text: str
    """As it is written, without the blanks around it."""


@dataclass(frozen=True, slots=True, order=True)
class Doubt:
    """A stretch of a recording in which something else may be said than was written down."""

    start_s: float
    end_s: float
    why: str
    """A clause without a full stop."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """Of one recording, in the order of time."""

    digest: str
    """The recording's."""
    source: str
    """What the recording was called by whoever gave it."""
    seconds: float
    """How long the recording is."""
    language: str | None
    """That is spoken, as ISO 639 has it, such as `en`; None from a transcriber that does not know."""
    spoken: tuple[Spoken, ...]
    """Empty where nothing is said."""
    doubts: tuple[Doubt, ...] = ()

    @property
    def text(self) -> str:
        """All of it in one line."""
        return " ".join(one.text for one in self.spoken)


@dataclass(frozen=True, slots=True)
class Transcripts:
    """Of several recordings, in their order."""

    of: tuple[Transcript, ...]
    problems: Mapping[str, str] = field(default_factory=dict, hash=False)
    """By digest, why a recording of an earlier turn could not be heard: a clause without a full stop."""
    by: str = field(default="", compare=False)
    """What the transcriber is called."""

    @property
    def text(self) -> str:
        """A line for each."""
        return "\n".join(one.text for one in self.of)


@runtime_checkable
class Transcriber(Protocol):
    """Writes down what is said. Many requests may be in flight, from several event loops."""

    async def transcribe(
        self, audio: Audio, *, language: str | None = None, task: Task = "transcribe", tenant: str = ""
    ) -> Transcript:
        """The whole recording, however long it is.

        language: that is spoken, by its code or its English name; None: the transcriber finds out. tenant: whose
        recording it is; what is remembered of one's makes no other's transcript come sooner. Raises EngineError for
        what its model cannot do, NotDescribed for a recording that cannot be heard, ModelError when it was closed.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """What the record should know: the model and its weights. JSON values."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class TranscriberOptions(Protocol):
    """The unopened transcriber, as a stage's `check` sees it."""

    def only_language(self) -> str | None:
        """The code of the one language that its model knows; None for several, and where that is not known yet."""
        ...

    def open(self) -> Transcriber: ...
