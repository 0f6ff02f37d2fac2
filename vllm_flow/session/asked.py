"""What is asked of a session, as turns: a text, a message or a turn, alone or in a batch.

As in a file of rows, an item of a batch that cannot be asked costs that item and never the batch.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import replace
from itertools import count

from vllm_flow.core.errors import InputError, shown
from vllm_flow.core.flow import Item, as_async
from vllm_flow.core.messages import Message, user
from vllm_flow.core.values import BadRow, Turn

Saying = str | Message | Turn
WHERE = "session.run"


class Asked:
    """Makes the turns of one session. Each gets an index of its own, in the order of the calls."""

    def __init__(self) -> None:
        self._indices = count()
        self._rows = count(1)

    def one(self, said: Saying, conversation: str | None, usual: str) -> Turn:
        """A turn of `conversation`, or else of the usual one. Raises InputError."""
        try:
            turn = (
                said
                if isinstance(said, Turn) and conversation is None
                else _turn(said, usual if conversation is None else conversation)
            )
        except ValueError as error:
            raise InputError(f"{WHERE}: {error}") from None
        return replace(turn, index=next(self._indices))

    def many(self, sayings: Iterable[Saying], conversation: str | None) -> list[Item]:
        """A turn for each: in order in `conversation`, or each in one of its own, called `row-1`, `row-2`, …

        Raises InputError when there is nothing to go through.
        """
        if isinstance(sayings, Mapping | bytes) or not isinstance(sayings, Iterable):
            raise InputError(f"{WHERE}: {_neither(sayings)}, or a list of them.")
        return [self._item(place, said, conversation) for place, said in enumerate(sayings, start=1)]

    async def numbered(self, items: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Item, None]:
        """The same turns with indices that follow those of this session's earlier ones."""
        async with aclosing(as_async(items)) as turns:
            async for item in turns:
                yield replace(item, index=next(self._indices))

    def _item(self, place: int, said: Saying, conversation: str | None) -> Item:
        index, row = next(self._indices), next(self._rows)
        try:
            if isinstance(said, Turn) and conversation is None:
                return replace(said, index=index)
            turn = _turn(said, f"row-{row}" if conversation is None else conversation)
        except ValueError as error:
            return BadRow(index, f"{WHERE}: item {place}", str(error))
        return replace(turn, index=index, number=1 if conversation is None else None)


def _turn(said: Saying, conversation: str) -> Turn:
    """Raises ValueError when it cannot be asked."""
    if isinstance(said, Turn):
        raise ValueError(f"the turn names its own conversation, '{said.conversation}'. Leave `conversation` out.")
    if not conversation.strip():
        raise ValueError("the conversation has no name. Give it one, or leave `conversation` out.")
    message = user(said) if isinstance(said, str) else said
    if not isinstance(message, Message):
        raise ValueError(f"{_neither(said)}.")
    if message.role != "user":
        raise ValueError(f"the message is from the {message.role}. Give the user's; others are a turn's history.")
    if not (message.text.strip() or message.media):
        raise ValueError("it is empty. Write what the user says.")
    return Turn(conversation, message)


def _neither(said: object) -> str:
    return f"{shown(said)} is neither a text nor a Message nor a Turn. Give one of them"
