"""Media of turns: what a turn or a value shows, and the turn with the content of what it shows.

Whoever keeps turns writes them without content, which is long and often the same, and keeps that beside, by digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from vllm_flow.core.files import written_once
from vllm_flow.core.media import Audio, Image, Medium
from vllm_flow.core.messages import Message
from vllm_flow.core.values import Context, Prompt, Turn

MEDIA = "media"
"""The folder of a record in which they are."""
Content = Callable[[Medium], bytes | None]
"""The content of a medium, where it is kept; None where it is not."""


def file_of(medium: Medium) -> str:
    """The name of the file that holds its content."""
    return f"{medium.digest}.{'png' if medium.kind == 'image' else 'flac'}"


def media_of(turn: Turn) -> dict[str, Medium]:
    """Each medium of its message and its history once, by digest."""
    return {one.digest: one for one in media_in((*turn.history, turn.message))}


def media_in(value: object) -> Iterator[Medium]:
    """Of a value of the graph: a medium, messages, a prompt, a context, and all that has such in it."""
    match value:
        case Image() | Audio():
            yield value
        case Message():
            yield from value.media
        case Prompt() | Context():
            yield from media_in(value.messages)
        case tuple() | list():
            for one in value:
                yield from media_in(one)
        case Mapping():
            yield from media_in(tuple(value.values()))


def with_content(turn: Turn, content: Content) -> Turn:
    """The turn as it was, as far as its media's content can be found."""
    if not media_of(turn):
        return turn
    history = tuple(_filled(message, content) for message in turn.history)
    return replace(turn, message=_filled(turn.message, content), history=history)


class Shelf:
    """Where media are kept, in one folder or in those of many records.

    Each folder holds all that it was given, and can be moved and deleted by itself; each content is on the disk once
    all the same, where the file system knows hard links.
    """

    def __init__(self) -> None:
        self._places: dict[str, Path] = {}
        """By name of a file, the folder that it was put into last."""

    def keep(self, media: Iterable[Medium], folder: Path) -> None:
        """Put them into the folder, as far as they are known and not there yet. Raises OSError."""
        for medium in media:
            if medium.data is not None:
                name = file_of(medium)
                place = self._places.get(name)
                written_once(folder / name, medium.data, place and place / name)
                self._places[name] = folder


def content_in(folder: Path) -> Content:
    """What a shelf put into that folder. The content raises OSError when it is there and cannot be read."""

    def content(medium: Medium) -> bytes | None:
        try:
            return (folder / file_of(medium)).read_bytes()
        except FileNotFoundError:
            return None

    return content


def _filled(message: Message, content: Content) -> Message:
    if not message.media:
        return message
    parts = (
        replace(one, data=content(one)) if isinstance(one, Medium) and one.data is None else one
        for one in message.parts
    )
    return replace(message, parts=tuple(parts))
