"""JSON lines as turns, one row at a time: a row that cannot be read costs that row and never the file.

Strict, because whoever writes `"contnet"` would rather hear of it than get an answer to something else.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from io import BufferedReader
from typing import Any

from vllm_flow.core.codec import decode, message_from_json, parts_from_json
from vllm_flow.core.errors import InputError
from vllm_flow.core.json_checks import check_keys, list_from_json, text_from_json, whole_from_json
from vllm_flow.core.values import BadRow, Message, Text, Turn

LOOKED_AT = 1 << 16
"""How many bytes of a file's beginning decide whether it is UTF-8 text at all."""


def lines_of(stream: BufferedReader, place: str) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, each with its number from 1, as they arrive. Raises InputError.

    Not UTF-8 at its beginning, the whole file is refused; a stray byte further down is left to the row it stands in.
    """
    _check_utf8(stream.peek(LOOKED_AT)[:LOOKED_AT], place)
    empty = True
    for number, line in enumerate(stream, start=1):
        kept = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if kept.strip():
            empty = False
            yield number, kept
    if empty:
        raise InputError(f"{place}: there are no rows. Write one row to a line.")


def _check_utf8(start: bytes, place: str) -> None:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the end may cut a character in two
    except UnicodeDecodeError as error:
        line = start.count(b"\n", 0, error.start) + 1
        raise InputError(f"{place}:{line}: the text is not UTF-8. Save it as UTF-8.") from None
    if b"\0" in start:  # UTF-16 without a mark, an archive, a database
        line = start.count(b"\n", 0, start.index(b"\0")) + 1
        raise InputError(f"{place}:{line}: a zero byte, so this is no UTF-8 text. Save it as UTF-8.")


def read_rows(lines: Iterable[tuple[int, bytes]], place: str) -> Iterator[Turn | BadRow]:
    """A turn for each line, or what is wrong with it. The index counts both."""
    rows = _Rows()
    for index, (number, line) in enumerate(lines):
        item: Turn | BadRow
        try:
            item = rows.turn(line, number, index)
        except ValueError as error:
            item = BadRow(index, f"{place}:{number}", str(error))
        yield item


def text_of(line: bytes) -> str:
    """The line as text. Raises ValueError when it is not UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"the text is not UTF-8, at byte {error.start + 1}. Save it as UTF-8.") from None


class _Rows:
    """What the rows so far have claimed: a conversation is one row with `messages`, or rows in file order."""

    def __init__(self) -> None:
        self._alone: dict[str, int] = {}
        """Conversations of rows with messages, with their line."""
        self._open: dict[str, int] = {}
        """Conversations of rows with text, with their last line."""
        self._numbers: dict[str, int] = {}
        """The last explicit turn number."""
        self._broken: dict[str, int] = {}
        """Conversations that lack a turn, with the line that could not be read."""

    def turn(self, line: bytes, number: int, index: int) -> Turn:
        """The row of line `number`. Raises ValueError, and remembers which conversation then lacks a turn."""
        row = decode(text_of(line).strip())
        if not isinstance(row, dict):
            raise ValueError("row: it is no mapping. Write {…} with 'messages', or with 'conversation' and 'text'.")
        try:
            if b"\\u" in line:
                _check_unicode(row)
            return (self._with_messages if "messages" in row else self._with_text)(row, number, index)
        except ValueError:
            if "messages" not in row and isinstance(name := row.get("conversation"), str):
                self._broken.setdefault(name, number)
            raise

    def _with_messages(self, row: dict[str, Any], number: int, index: int) -> Turn:
        check_keys(row, "row", ("messages",), ("id",))
        conversation = _conversation(row, number)
        messages = _messages(row["messages"])
        taken = self._alone.get(conversation) or self._open.get(conversation)
        if taken is not None:
            raise ValueError(f"id: '{conversation}' is taken by line {taken}. Give each row its own id.")
        self._alone[conversation] = number
        return Turn(conversation, messages[-1], messages[:-1], number=1, index=index)

    def _with_text(self, row: dict[str, Any], number: int, index: int) -> Turn:
        if "conversation" not in row:
            raise ValueError("row: it has neither 'messages' nor 'conversation'. Give one of them.")
        conversation = _name(text_from_json(row["conversation"], "conversation"), "conversation")
        check_keys(row, "row", ("conversation",), ("text", "parts", "turn"))
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
            message = Message("user", parts_from_json(row["parts"]))
        _check_said(message, "text" if "text" in row else "parts")
        turn = self._number(row, conversation)
        self._open[conversation] = number
        return Turn(conversation, message, number=turn, index=index)

    def _number(self, row: dict[str, Any], conversation: str) -> int | None:
        if "turn" not in row:
            return None
        number, last = whole_from_json(row["turn"], "turn", low=1), self._numbers.get(conversation, 0)
        if number <= last:
            raise ValueError(f"turn: {number} stands after turn {last}. File order is turn order: sort the rows.")
        self._numbers[conversation] = number
        return number


def _conversation(row: dict[str, Any], number: int) -> str:
    if "id" not in row:
        return f"row-{number}"
    if type(row["id"]) not in (str, int):
        raise ValueError("id: it is neither a text nor a whole number. Give one of them, or leave it out.")
    return _name(str(row["id"]), "id")


def _name(text: str, where: str) -> str:
    if not text.strip():
        raise ValueError(f"{where}: it is empty. Give it a name.")
    return text


def _messages(data: Any) -> tuple[Message, ...]:
    items = list_from_json(data, "messages")
    messages = tuple(message_from_json(item, f"messages.{place}") for place, item in enumerate(items))
    if not messages:
        raise ValueError("messages: there are none. End with the user's message, which is the turn.")
    if messages[-1].role != "user":
        raise ValueError(f"messages: the last is from the {messages[-1].role}. End with the user's, which is the turn.")
    _check_said(messages[-1], f"messages.{len(messages) - 1}")
    return messages


def _check_said(message: Message, where: str) -> None:
    if not message.text.strip():
        raise ValueError(f"{where}: it is empty. Write what the user says.")


def _check_unicode(row: Any) -> None:
    try:
        json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])[1:-1]
        raise ValueError(f"{half} is half a surrogate pair, which no text can hold. Write both halves.") from None
