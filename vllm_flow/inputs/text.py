"""One turn written in the configuration or on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vllm_flow.core.errors import InputError, MediaError
from vllm_flow.core.gate import Gate
from vllm_flow.core.media import A_KIND, Medium
from vllm_flow.core.messages import Message
from vllm_flow.core.messages import Text as Written
from vllm_flow.core.registry import source
from vllm_flow.core.values import Turn
from vllm_flow.inputs.shown import MISSING


@source("input/text")
@dataclass(frozen=True)
class Text:
    """One text, as the user's turn, behind the images and sounds that it is about."""

    text: str = ""
    """What the user says; it may be left out where there is something to see or hear."""
    conversation: str = "text"
    """The conversation it belongs to; with a store that lasts, a run with the same name goes on with it."""
    image: str | tuple[str, ...] = ()
    """A file, or several."""
    audio: str | tuple[str, ...] = ()
    """A file, or several."""

    def turns(self, media: Gate | None = None) -> Iterator[Turn]:
        """Raises InputError for a text or a name that is empty or no Unicode, and for a file that cannot be read."""
        shown = tuple(_media("image", self.image, media) + _media("audio", self.audio, media))
        for name, value in (("text", self.text), ("conversation", self.conversation)):
            if not value.strip() and not (name == "text" and shown):
                raise InputError(f"input.{name}: it is empty. Write {name}=… with something in it.")
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:  # bytes of the command line that are not in the terminal's encoding
                raise InputError(f"input.{name}: {value!a} is not Unicode. Use a UTF-8 terminal.") from None
        said = (Written(self.text),) if self.text.strip() else ()
        yield Turn(self.conversation, Message("user", (*shown, *said)))


def _media(kind: str, given: str | tuple[str, ...], gate: Gate | None) -> list[Medium]:
    files = [given] if isinstance(given, str) else list(given)
    if files and gate is None:
        raise InputError(f"input.{kind}: {MISSING}")
    try:
        return [_of_kind(kind, gate.read(file)) for file in files] if gate else []
    except MediaError as error:
        raise InputError(f"input.{kind}: {error}") from None


def _of_kind(kind: str, medium: Medium) -> Medium:
    if medium.kind != kind:
        raise MediaError(f"{medium.source}: it is {A_KIND[medium.kind]}. Write it as input.{medium.kind}=….")
    return medium
