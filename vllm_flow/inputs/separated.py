"""Comma and tab separated values as rows, read line by line with the standard library's strict reader.

Strict, because a quotation mark in the wrong place otherwise moves text from one cell into another.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Collection, Iterable, Iterator
from io import BufferedReader

from vllm_flow.core.errors import InputError
from vllm_flow.inputs.json_lines import check_utf8, text_of
from vllm_flow.inputs.opening import LOOKED_AT
from vllm_flow.inputs.rows import Row, check_unique

DELIMITERS = {".csv": ",", ".tsv": "\t"}
CALLED = {",": "comma", "\t": "tab"}
Choose = Callable[[Iterable[str]], Collection[str]]


def separated_rows(stream: BufferedReader, place: str, delimiter: str, choose: Choose) -> Iterator[Row]:
    """The rows below the line with the columns' names, each with the line on which it begins. Raises InputError."""
    check_utf8(stream.peek(LOOKED_AT)[:LOOKED_AT], place)
    rows = _records(_Lines(stream), delimiter)
    number, columns, problem = next(rows, (0, [], ""))
    if problem:
        raise InputError(f"{place}:{number}: {problem}")
    if not columns:
        raise InputError(f"{place}: there are no rows. Write one row to a line, the first with the columns' names.")
    for at, name in enumerate(columns, start=1):
        if not name.strip():
            raise InputError(f"{place}:{number}: column {at} has no name. Write one into the first line.")
    check_unique(columns, f"{place}:{number}")
    chosen, wide, empty = choose(columns), len(columns), True
    wanted = [at for at, name in enumerate(columns) if name in chosen]
    for number, fields, found in rows:
        empty = False
        values = {columns[at]: fields[at] for at in wanted if at < len(fields)}
        yield Row(number, values, found or (_width(len(fields), wide, delimiter) if len(fields) != wide else ""))
    if empty:
        raise InputError(f"{place}: there are no rows below the columns' names. Write one row to a line.")


def _width(found: int, wide: int, delimiter: str) -> str:
    mark = CALLED[delimiter]
    return f"it has {found} of {wide} fields. Put a field with a {mark} or a line break into quotation marks."


def _records(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """The line on which a record begins, its fields, and what is wrong with it. Blank lines are skipped."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        number, lines.problem = reader.line_num + 1, ""
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield number, [], _in_words(str(error), reader.line_num)
            continue
        if fields is None:
            return
        if fields and (len(fields) > 1 or fields[0].strip()):
            yield number, fields, lines.problem


class _Lines:
    """Lines as text. After one that is not UTF-8 `problem` says so, until the next record clears it."""

    def __init__(self, stream: BufferedReader) -> None:
        self.problem = ""
        self._stream = iter(stream)
        self._first = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._stream)
        if self._first:
            line, self._first = line.removeprefix(codecs.BOM_UTF8), False
        try:
            return text_of(line)
        except ValueError as error:
            self.problem = self.problem or str(error)
            return line.decode("utf-8", "replace")


def _in_words(error: str, line: int) -> str:
    """An error of the csv module, told apart by its text; one that we do not know is shown as it is."""
    if error.startswith("field larger"):
        limit = csv.field_size_limit()
        return f"a field of over {limit} characters, up to line {line}. Close its quotation mark, or write JSON lines."
    if error == "unexpected end of data":
        return f"a quotation mark is open up to line {line}, the last. Close it, or double it inside a quoted field."
    if "expected after" in error:
        return "text stands after a closing quotation mark. Double the quotation marks inside a quoted field."
    if error.startswith("new-line character"):
        return "a carriage return stands by itself. Put its field into quotation marks."
    return f"it cannot be read ({error}). Correct it."
