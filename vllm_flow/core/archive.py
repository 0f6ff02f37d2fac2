"""An archive: what a store may offer to whoever looks after conversations, beside what a pipeline needs of it.

`Store` is all that stages and the runner ask for, so that plugging in a database stays an afternoon's work. Listing,
searching, branching and moving conversations is a second contract, `Archive`, which `vllm-flow context` and the chat
use where a store keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from vllm_flow.core.messages import Message
from vllm_flow.core.resources import Store, StoredTurn
from vllm_flow.core.values import Completion, Turn


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation, in a list."""

    name: str
    title: str
    """As it was given, or how the first message begins."""
    turns: int
    """Those that stand; 0 when all were taken back."""
    written: datetime
    """When a turn of it was written last, in UTC, to the millisecond."""


@dataclass(frozen=True, slots=True)
class Found:
    """A message that a search found."""

    conversation: str
    number: int
    message: Message
    """The user's, or the reply."""


@dataclass(frozen=True, slots=True)
class KeptTurn:
    """A turn with everything that was stored of it."""

    turn: Turn
    reply: Completion | None
    state: Mapping[str, Any] | None
    """The conversation's state after this turn; None unless it is answered."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A whole conversation, as it moves from store to store. What was taken back is not in it."""

    name: str
    title: str
    written: datetime
    turns: tuple[KeptTurn, ...]
    """By number."""


@runtime_checkable
class Archive(Store, Protocol):
    """A store whose conversations can be listed, titled, searched, branched, moved and deleted.

    Every method but `search` raises StoreError for a conversation it does not know, unless it says otherwise. It is for
    whoever owns all that is kept: conversations of every tenant are listed, and found, alike.
    """

    def conversations(self) -> tuple[Conversation, ...]:
        """All of them, the one written last first: those, too, of which every turn was taken back."""
        ...

    def set_title(self, conversation: str, title: str) -> None:
        """Call it so, in one line, until it is called otherwise. Raises StoreError for a title without a word."""
        ...

    def search(self, text: str, limit: int = 20) -> tuple[Found, ...]:
        """Messages of users and replies with every word of `text`, those of the newest turns first.

        A word finds each word that begins with it, whatever its case and accents; a script that puts no spaces between
        words, such as Chinese, is found anywhere; words in double quotes, only one behind the other. What was taken
        back is not found. Raises StoreError for a text without a word.
        """
        ...

    def fork(self, conversation: str, to: str, number: int | None = None) -> None:
        """Copy the turns up to that number, or all, with the state after each, as a new conversation.

        Both go on by themselves. Raises StoreError when there is no such turn, or a conversation `to`.
        """
        ...

    def taken_back(self, conversation: str) -> tuple[StoredTurn, ...]:
        """The turns that `undo` took back, in the order they were begun; they are kept until the conversation goes."""
        ...

    def dump(self, conversation: str) -> Kept:
        """All that `load` needs to make it again."""
        ...

    def load(self, kept: Kept) -> bool:
        """Store a whole conversation at once. Returns False, and changes nothing, when one with equal turns is there.

        Raises StoreError when another one has its name, and for turns that no store could hold.
        """
        ...

    def delete(self, conversation: str, before: datetime | None = None) -> bool:
        """Delete it for good, with what was taken back; not if a turn was written at `before` or later.

        Returns whether it was deleted. One that is not there is no error: somebody else may have been faster.
        """
        ...
