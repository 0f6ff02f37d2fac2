"""Turns from a file of rows: the form of a data set, read as it is needed and never whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Annotated

from vllm_flow.core.errors import InputError
from vllm_flow.core.gate import Gate
from vllm_flow.core.options import OptionProblem, at_least
from vllm_flow.core.registry import source
from vllm_flow.core.template import Template
from vllm_flow.core.values import BadRow, Turn
from vllm_flow.inputs import parquet
from vllm_flow.inputs.columns import ColumnNames, Columns, Mapped, StrictColumns
from vllm_flow.inputs.json_lines import json_rows, lines_of
from vllm_flow.inputs.opening import ENDINGS, ending, open_bytes
from vllm_flow.inputs.rows import Form, Row, Strict, turns_of
from vllm_flow.inputs.separated import DELIMITERS, separated_rows
from vllm_flow.inputs.shown import Shown

PARQUET = ".parquet"


@source("input/file")
@dataclass(frozen=True)
class File:
    """Rows of a file, which its ending says how to read: .jsonl, .csv, .tsv, .parquet.

    As they are, rows say what the user says: `{"id": "q1", "messages": [{"role": "user", "content": "Hi"}]}` is a
    conversation of its own, the last message is the turn, those before it its history. Without `id` it is named `row-`
    and its line number. `{"conversation": "c1", "text": "Hi"}` is one turn of several; file order is turn order, and
    `turn` may number it. `parts`, or a list as `content`, holds `{"text": …}`, `{"type": "image", "image": FILE}` and
    the same of `audio`; `reference` is what a metric compares with, and no model sees it. Columns of a table may have
    these names.

    Other rows need `text` or `messages`, and columns that are not named are not read. A cell of `messages` may be JSON
    in a text. An empty cell is nothing. Blank lines and a byte order mark are skipped. A file without an ending is read
    as JSON lines. A row that cannot be read fails by itself.
    """

    path: str
    """UTF-8, but for parquet; `~` is the home folder."""
    text: str | None = None
    """What the user says, with columns in it: `Q: {question}`. A brace itself is written twice."""
    messages: str | None = None
    """The column that holds the messages, instead of `text`."""
    image: str | None = None
    """The column of what is seen, with or without text: a file, or a list of them. Paths begin beside this file."""
    audio: str | None = None
    """The column of what is heard, likewise."""
    id: str | None = None
    """The column that names the conversation; each row needs another name."""
    reference: str | None = None
    """The column of what a metric compares the answer with."""
    limit: Annotated[int | None, at_least(1)] = None
    """How many rows to read, from the first; null reads all."""

    def problems(self) -> Iterator[OptionProblem]:
        kind = ending(self.path)
        if kind and kind not in ENDINGS:
            fitting = f"{', '.join(ENDINGS)}, or none for JSON lines"
            yield OptionProblem(("path",), f"no rows are read from a file that ends in '{kind}'. Endings: {fitting}.")
        if kind == PARQUET and not parquet.is_installed():
            yield OptionProblem(("path",), parquet.MISSING)
        if self.text is not None:
            yield from _template_problems(self.text)
        if self.text is not None and self.messages is not None:
            yield OptionProblem(("messages",), "text and messages exclude each other. Give one of them.")
        for name in ("image", "audio") if self.messages is not None else ():
            if getattr(self, name) is not None:
                yield OptionProblem((name,), f"{name} and messages exclude each other: messages show what they show.")
        for name in ("id", "reference") if not self._said else ():
            if getattr(self, name) is not None:
                yield OptionProblem((name,), "it names a column beside text or messages. Give one of these, too.")

    @property
    def _said(self) -> bool:
        """Whether it is named here what the user says."""
        return any(one is not None for one in (self.text, self.messages, self.image, self.audio))

    def turns(self, media: Gate | None = None) -> Iterator[Turn | BadRow]:
        """Raises InputError on the first step when the file cannot be read. A row at fault is a BadRow."""
        for one in self.problems():
            raise InputError(f"input.{'.'.join(one.path)}: {one.problem}")
        with open_bytes(self.path) as stream:
            rows, form = self._rows(stream, Shown(media, Path(self.path).expanduser().parent))
            items = turns_of(islice(rows, self.limit), form, self.path)
            while True:
                try:
                    item = next(items, None)
                except OSError as error:
                    raise InputError(f"{self.path}: reading stopped ({error.strerror}). Look at the disk.") from None
                if item is None:
                    return
                yield item

    def _rows(self, stream: BufferedReader, shown: Shown) -> tuple[Iterator[Row], Form]:
        named, kind = self._named(), ending(self.path)
        if kind not in (*DELIMITERS, PARQUET):
            form = Mapped(named, self.path, shown) if named else Strict(shown)
            return json_rows(lines_of(stream, self.path)), form
        columns: Columns = Mapped(named, self.path, shown) if named else StrictColumns(self.path, shown)
        if kind == PARQUET:
            return parquet.parquet_rows(stream, self.path, columns.choose), columns
        return separated_rows(stream, self.path, DELIMITERS[kind], columns.choose), columns

    def _named(self) -> ColumnNames | None:
        """None when the rows say themselves what they are."""
        if not self._said:
            return None
        text = None if self.text is None else Template.parse(self.text)
        return ColumnNames(text, self.messages, self.id, self.reference, self.image, self.audio)


def _template_problems(text: str) -> Iterator[OptionProblem]:
    try:
        if not Template.parse(text).columns:
            problem = "there is no {column} in it, so all rows would say the same. Write one, or ask without a file."
            yield OptionProblem(("text",), problem)
    except ValueError as error:
        yield OptionProblem(("text",), str(error))
