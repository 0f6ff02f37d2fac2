"""JSON lines as rows: one mapping to a line, read as the lines arrive."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from io import BufferedReader
from typing import Any

from vllm_flow.core.errors import InputError
from vllm_flow.core.json_text import decode
from vllm_flow.inputs.opening import LOOKED_AT
from vllm_flow.inputs.rows import Row

FORM = "Write {…} with 'messages', or with 'conversation' and 'text'."


def lines_of(stream: BufferedReader, place: str) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, each with its number from 1, as they arrive. Raises InputError.

    Not UTF-8 at its beginning, the whole file is refused; a stray byte further down is left to the row it stands in.
    """
    check_utf8(stream.peek(LOOKED_AT)[:LOOKED_AT], place)
    empty = True
    for number, line in enumerate(stream, start=1):
        kept = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        if kept.strip():
            empty = False
            yield number, kept
    if empty:
        raise InputError(f"{place}: there are no rows. Write one row to a line.")


def check_utf8(start: bytes, place: str) -> None:
    """Raises InputError, with the line, for the beginning of a file that is no UTF-8 text."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)  # the end may cut a character in two
    except UnicodeDecodeError as error:
        line = start.count(b"\n", 0, error.start) + 1
        raise InputError(f"{place}:{line}: the text is not UTF-8. Save it as UTF-8.") from None
    if b"\0" in start:  # UTF-16 without a mark, an archive, a database
        line = start.count(b"\n", 0, start.index(b"\0")) + 1
        raise InputError(f"{place}:{line}: a zero byte, so this is no UTF-8 text. Save it as UTF-8.")


def text_of(line: bytes) -> str:
    """The line as text. Raises ValueError when it is not UTF-8."""
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"the text is not UTF-8, at byte {error.start + 1}. Save it as UTF-8.") from None


def json_rows(lines: Iterable[tuple[int, bytes]]) -> Iterator[Row]:
    """The mapping on each line; a line without one is a row with a problem."""
    for number, line in lines:
        yield _row(number, line)


def _row(number: int, line: bytes) -> Row:
    try:
        values = decode(text_of(line).strip())
    except ValueError as error:
        return Row(number, {}, str(error))
    if not isinstance(values, dict):
        return Row(number, {}, f"row: it is no mapping. {FORM}")
    return Row(number, values, _half_character(values) if b"\\u" in line else "")


def _half_character(values: Any) -> str:
    try:
        json.dumps(values, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])[1:-1]
        return f"{half} is half a surrogate pair, which no text can hold. Write both halves."
    return ""
