"""One turn written in the configuration or on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vllm_flow.core.errors import InputError
from vllm_flow.core.messages import user
from vllm_flow.core.registry import source
from vllm_flow.core.values import Turn


@source("input/text")
@dataclass(frozen=True)
class Text:
    """One text, as the user's turn."""

    text: str
    conversation: str = "text"
    """The conversation it belongs to; with a store that lasts, a run with the same name goes on with it."""

    def turns(self) -> Iterator[Turn]:
        """Raises InputError for a text or a name that is empty or no Unicode."""
        for name, value in (("text", self.text), ("conversation", self.conversation)):
            if not value.strip():
                raise InputError(f"input.{name}: it is empty. Write {name}=… with something in it.")
            try:
                value.encode("utf-8")
            except UnicodeEncodeError:  # bytes of the command line that are not in the terminal's encoding
                raise InputError(f"input.{name}: {value!a} is not Unicode. Use a UTF-8 terminal.") from None
        yield Turn(self.conversation, user(self.text))
