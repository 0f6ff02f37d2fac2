"""Rows with columns: which of them is what. The configuration says it, or they have the names of the strict form."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from vllm_flow.core.errors import InputError, listed, nearest
from vllm_flow.core.json_text import decode
from vllm_flow.core.media import MediaKind, Medium
from vllm_flow.core.messages import Message, Text
from vllm_flow.core.template import Template, json_value
from vllm_flow.core.values import Turn
from vllm_flow.inputs.rows import Form, Row, Strict, messages_of, name_of
from vllm_flow.inputs.shown import Shown

KNOWN = frozenset({"conversation", "id", "messages", "parts", "reference", "text", "turn"})


class Columns(Form, Protocol):
    """A form for a file whose columns are known before its first row."""

    def choose(self, columns: Iterable[str]) -> Collection[str]:
        """Those of the columns that are to be read. Raises InputError when they cannot be understood."""


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """What the columns of a file are."""

    text: Template | None = None
    """What the user says. Either this or `messages`."""
    messages: str | None = None
    id: str | None = None
    reference: str | None = None
    image: str | None = None
    """A file, or several in a list. Beside `text`."""
    audio: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        others = (self.messages, self.id, self.reference, self.image, self.audio)
        named = (*(self.text.columns if self.text else ()), *others)
        return tuple(dict.fromkeys(name for name in named if name is not None))


class Mapped:
    """Rows of which the configuration says what their columns are. Columns that it does not name are not looked at."""

    def __init__(self, named: ColumnNames, place: str, shown: Shown) -> None:
        self._named = named
        self._shown = shown
        self._place = place
        self._chosen = False
        self._ids: dict[str, int] = {}
        """Where each name stood; without a column of names nothing is kept, so memory does not grow with the file."""

    def choose(self, columns: Iterable[str]) -> Collection[str]:
        self._check(list(columns), self._place)
        return self._named.columns

    def turn(self, row: Row, index: int) -> Turn:
        """Without a header the first row that can be read shows the columns: a name misspelt would fail every row."""
        if row.problem:
            raise ValueError(row.problem)
        if not self._chosen:
            self._check(list(row.values), f"{self._place}:{row.number}")
        for column in self._named.columns:
            if column not in row.values:
                raise ValueError(_lacking(column, row.values))
        *history, message = self._said(row.values)
        reference = self._reference(row.values)
        name = self._name(row)
        return Turn(name, message, tuple(history), number=1, index=index, reference=reference)

    def _check(self, columns: list[str], where: str) -> None:
        self._chosen = True
        for column in self._named.columns:
            if column not in columns:
                raise InputError(f"{where}: {_lacking(column, columns)}")

    def _said(self, values: dict[str, Any]) -> tuple[Message, ...]:
        if self._named.messages is not None:
            column = self._named.messages
            return messages_of(_without_nulls(parsed(values[column], column)), column, self._shown)
        text = (Text(self._named.text.fill(values)),) if self._named.text else ()
        shown = (*self._media("image", self._named.image, values), *self._media("audio", self._named.audio, values))
        if not (text or shown):
            raise ValueError("there is nothing to see or hear in it. Name a file in the column.")
        return (Message("user", (*shown, *text)),)

    def _media(self, kind: MediaKind, column: str | None, values: dict[str, Any]) -> Iterator[Medium]:
        """A cell may hold a list of files, also as JSON in a text; an empty one shows nothing."""
        cell = None if column is None else values[column]
        cell = parsed(cell, str(column)) if isinstance(cell, str) and cell.startswith("[") else cell
        for one in [] if cell in (None, "") else cell if isinstance(cell, list) else [cell]:
            yield self._shown.file(kind, one, str(column))

    def _reference(self, values: dict[str, Any]) -> Any:
        column = self._named.reference
        if column is None or values[column] == "":
            return None
        return json_value(values[column], column)

    def _name(self, row: Row) -> str:
        column = self._named.id
        if column is None:
            return f"row-{row.number}"
        name = name_of(row.values[column], column)
        if (taken := self._ids.get(name)) is not None:
            raise ValueError(f"{column}: '{name}' is taken by line {taken}. Give each row its own.")
        self._ids[name] = row.number
        return name


class StrictColumns:
    """Columns that have the names of the strict form's keys. An empty cell is a key that is not there."""

    def __init__(self, place: str, shown: Shown) -> None:
        self._place = place
        self._rows = Strict(shown)

    def choose(self, columns: Iterable[str]) -> Collection[str]:
        names = list(columns)
        spoken = {"conversation", "text"} <= {*names} or {"conversation", "parts"} <= {*names}
        if not KNOWN.issuperset(names) or not ("messages" in names or spoken):
            raise InputError(
                f"{self._place}: the columns are {listed(names)}, and nothing says what the user says. "
                f'Write input.text="… {{{names[0]}}} …", or input.messages=COLUMN.'
            )
        return names

    def turn(self, row: Row, index: int) -> Turn:
        values = {name: cell for name, cell in row.values.items() if cell is not None and cell != ""}
        try:
            found = replace(row, values={name: _cell(cell, name) for name, cell in values.items()})
        except ValueError as error:
            found = replace(row, values=values, problem=row.problem or str(error))
        return self._rows.turn(found, index)


def parsed(cell: Any, where: str) -> Any:
    """What stands as JSON in a cell of text; anything else as it is. Raises ValueError."""
    if not isinstance(cell, str):
        return cell
    try:
        return decode(cell)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _cell(cell: Any, name: str) -> Any:
    if name in ("messages", "parts"):
        return _without_nulls(parsed(cell, name))
    if name == "turn" and isinstance(cell, str) and cell.isascii() and cell.isdigit():
        return int(cell)
    return json_value(cell, name) if name == "reference" else cell


def _without_nulls(items: Any) -> Any:
    """Columns of mappings have every key in every mapping: what is null in one was not there."""
    if not isinstance(items, list):
        return items
    return [
        {key: one for key, one in item.items() if one is not None} if isinstance(item, dict) else item for item in items
    ]


def _lacking(column: str, there: Iterable[str]) -> str:
    names = list(there)
    return f"there is no column '{column}'.{nearest(column, names)} Columns: {listed(names)}."
