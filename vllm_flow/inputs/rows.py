"""Rows as turns, one at a time: a row that cannot be read costs that row and never the file.

A reader makes rows of a file, whatever its form; a form makes turns of rows. The form here is the strict one, because
whoever writes `"contnet"` would rather hear of it than get an answer to something else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from vllm_flow.core.errors import InputError
from vllm_flow.core.json_checks import (
    ALONG,
    along_from_json,
    check_keys,
    list_from_json,
    text_from_json,
    whole_from_json,
)
from vllm_flow.core.message_json import message_from_json, parts_from_json
from vllm_flow.core.messages import Message, Text
from vllm_flow.core.values import BadRow, Turn
from vllm_flow.inputs.shown import Shown


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file, before anybody has asked what it says."""

    number: int
    """Where it begins: its line, or its place among the rows of a file without lines. From 1."""
    values: dict[str, Any]
    """By key or column, as far as they could be read."""
    problem: str = ""
    """Why it cannot be used; empty for a row that was read whole."""


class Form(Protocol):
    """How rows of one file are to be understood. It remembers what the rows so far have claimed."""

    def turn(self, row: Row, index: int) -> Turn:
        """Raises ValueError for a row at fault, and InputError when no row of the file could be understood."""


def turns_of(rows: Iterable[Row], form: Form, place: str) -> Iterator[Turn | BadRow]:
    """A turn for each row, or what is wrong with it. The index counts both."""
    for index, row in enumerate(rows):
        item: Turn | BadRow
        try:
            item = form.turn(row, index)
        except ValueError as error:
            item = BadRow(index, f"{place}:{row.number}", str(error))
        yield item


def check_unique(columns: list[str], where: str) -> None:
    """Raises InputError for a file of which two columns have one name."""
    for at, name in enumerate(columns):
        if columns.index(name) != at:
            raise InputError(f"{where}: the column '{name}' is there twice. Rename one of them.")


class Strict:
    """Rows that say themselves what they are: `messages`, or `conversation` with a text, and no key beside the known.

    A conversation is one row with `messages`, or rows in file order.
    """

    def __init__(self, shown: Shown | None = None) -> None:
        self._shown = shown or Shown(None)
        self._alone: dict[str, int] = {}
        """Conversations of rows with messages, with their line."""
        self._open: dict[str, int] = {}
        """Conversations of rows with text, with their last line."""
        self._numbers: dict[str, int] = {}
        """The last explicit turn number."""
        self._broken: dict[str, int] = {}
        """Conversations that lack a turn, with the line that could not be read."""

    def turn(self, row: Row, index: int) -> Turn:
        """Raises ValueError, and remembers which conversation then lacks a turn."""
        values = row.values
        try:
            if row.problem:
                raise ValueError(row.problem)
            return (self._with_messages if "messages" in values else self._with_text)(values, row.number, index)
        except ValueError:
            if "messages" not in values and isinstance(name := values.get("conversation"), str):
                self._broken.setdefault(name, row.number)
            raise

    def _with_messages(self, row: Mapping[str, Any], number: int, index: int) -> Turn:
        check_keys(row, "row", ("messages",), ("id", "reference", *ALONG))
        conversation = name_of(row["id"], "id") if "id" in row else f"row-{number}"
        messages = messages_of(row["messages"], shown=self._shown)
        taken = self._alone.get(conversation) or self._open.get(conversation)
        if taken is not None:
            raise ValueError(f"id: '{conversation}' is taken by line {taken}. Give each row its own id.")
        self._alone[conversation] = number
        told: dict[str, Any] = {"reference": row.get("reference"), **along_from_json(row)}
        return Turn(conversation, messages[-1], messages[:-1], number=1, index=index, **told)

    def _with_text(self, row: Mapping[str, Any], number: int, index: int) -> Turn:
        if "conversation" not in row:
            raise ValueError("row: it has neither 'messages' nor 'conversation'. Give one of them.")
        conversation = _name(text_from_json(row["conversation"], "conversation"), "conversation")
        check_keys(row, "row", ("conversation",), ("text", "parts", "turn", "reference", *ALONG))
        if (line := self._broken.get(conversation)) is not None:
            raise ValueError(f"conversation: '{conversation}' lacks the turn of line {line}. Correct that line.")
        if (line := self._alone.get(conversation)) is not None:
            raise ValueError(f"conversation: '{conversation}' is the id of line {line}. Use another name.")
        if ("text" in row) == ("parts" in row):
            found = "both" if "text" in row else "neither"
            raise ValueError(f"row: it has {found} of 'text' and 'parts'. Give one of them.")
        if "text" in row:
            message = Message("user", (Text(text_from_json(row["text"], "text")),))
        else:
            message = Message("user", parts_from_json(row["parts"], shown=self._shown))
        _check_said(message, "text" if "text" in row else "parts")
        turn = self._number(row, conversation)
        self._open[conversation] = number
        told: dict[str, Any] = {"reference": row.get("reference"), **along_from_json(row)}
        return Turn(conversation, message, number=turn, index=index, **told)

    def _number(self, row: Mapping[str, Any], conversation: str) -> int | None:
        if "turn" not in row:
            return None
        number, last = whole_from_json(row["turn"], "turn", low=1), self._numbers.get(conversation, 0)
        if number <= last:
            raise ValueError(f"turn: {number} stands after turn {last}. File order is turn order: sort the rows.")
        self._numbers[conversation] = number
        return number


def name_of(value: Any, where: str) -> str:
    """The name of a conversation. Raises ValueError."""
    if type(value) not in (str, int):
        raise ValueError(f"{where}: it is neither a text nor a whole number. Give one of them, or leave it out.")
    return _name(str(value), where)


def _name(text: str, where: str) -> str:
    if not text.strip():
        raise ValueError(f"{where}: it is empty. Give it a name.")
    return text


def messages_of(data: Any, where: str = "messages", shown: Shown | None = None) -> tuple[Message, ...]:
    """Messages of which the last is the user's. Raises ValueError."""
    items = list_from_json(data, where)
    messages = tuple(message_from_json(item, f"{where}.{place}", shown) for place, item in enumerate(items))
    if not messages:
        raise ValueError(f"{where}: there are none. End with the user's message, which is the turn.")
    if messages[-1].role != "user":
        raise ValueError(f"{where}: the last is from the {messages[-1].role}. End with the user's, which is the turn.")
    _check_said(messages[-1], f"{where}.{len(messages) - 1}")
    return messages


def _check_said(message: Message, where: str) -> None:
    if not (message.text.strip() or message.media):
        raise ValueError(f"{where}: it is empty. Write what the user says.")
