"""Messages: what one side said, in parts: texts, images and sounds, calls of functions and their results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from vllm_flow.core.media import Audio, Image, Medium
from vllm_flow.core.tool_values import ToolCall, ToolResult

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Text:
    """The part of a message that is written."""

    text: str


@dataclass(frozen=True, slots=True)
class Told(Text):
    """A text that stands in the place of a medium, which it tells of to a model that reads only texts."""

    source: str = ""
    """What the medium was called by whoever gave it, and how it came to be words."""
    fence: str = ""
    """The tag that it stands in; what is left of it when it is cut stands in it, too."""


Part = Text | Image | Audio | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """What one side said: parts, in the order they were said."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """What is written in it; of a tool's message, what the model reads of the results."""
        return "".join(part.text for part in self.parts)

    @property
    def shown(self) -> str:
        """Its text, with what stands for images and sounds."""
        if not self.media:
            return self.text
        pieces = (f" {part.shown} " if isinstance(part, Medium) else part.text for part in self.parts)
        return "".join(pieces).strip()

    @property
    def media(self) -> tuple[Medium, ...]:
        return tuple(part for part in self.parts if isinstance(part, Medium))


def system(text: str) -> Message:
    return Message("system", (Text(text),))


def user(text: str, *shown: Medium) -> Message:
    """shown: images and sounds that the text is about; they stand before it."""
    return Message("user", (*shown, Text(text)))


def assistant(text: str) -> Message:
    return Message("assistant", (Text(text),))


def by_question(messages: Iterable[Message]) -> Iterator[tuple[Message, ...]]:
    """The messages, cut before every question but the first: a template that wants the roles in turn finds them so."""
    group: list[Message] = []
    asked = False
    for message in messages:
        if message.role == "user" and asked:
            yield tuple(group)
            group, asked = [], False
        asked = asked or message.role == "user"
        group.append(message)
    if group:
        yield tuple(group)
