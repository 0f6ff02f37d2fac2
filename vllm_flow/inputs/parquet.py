"""Parquet files as rows, in batches: of a file of any size only the columns that are used, some rows at a time."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date, time
from decimal import Decimal
from importlib.util import find_spec
from io import BufferedReader
from typing import Any

from vllm_flow.core.errors import InputError
from vllm_flow.inputs.rows import Row, check_unique

LIBRARY = "pyarrow"
MISSING = 'a parquet file needs pyarrow, which is not installed. Run: pip install "vllm-flow[data]".'
BATCH = 256
"""Rows that are Python values at a time; each may hold a long text."""
BUFFER = 1 << 20
"""How many bytes of a column are read at a time, where its pages allow."""
Choose = Callable[[Iterable[str]], Collection[str]]


def is_installed() -> bool:
    return find_spec(LIBRARY) is not None


def parquet_rows(stream: BufferedReader, place: str, choose: Choose) -> Iterator[Row]:
    """The rows, counted from 1. Raises InputError for what is no parquet file, or is damaged further down."""
    if not is_installed():
        raise InputError(f"{place}: {MISSING}")
    import pyarrow
    from pyarrow.parquet import ParquetFile

    damage = (pyarrow.ArrowException, OSError, UnicodeDecodeError)
    try:
        file = ParquetFile(stream, buffer_size=BUFFER, pre_buffer=False)
        names, rows = file.schema_arrow.names, file.metadata.num_rows
    except damage as error:
        raise InputError(f"{place}: it cannot be read as parquet ({_first_line(error)}). Name another file.") from None
    if not rows:
        raise InputError(f"{place}: there are no rows. Write some into it.")
    check_unique(names, place)
    wanted = list(choose(names))
    batches, number = file.iter_batches(BATCH, columns=wanted, use_threads=False), 0
    while True:
        try:
            batch = next(batches, None)
        except damage as error:
            told = _first_line(error)
            raise InputError(f"{place}: reading stopped after row {number} ({told}). Put back a copy.") from None
        if batch is None:
            return
        yield from _rows(batch, number)
        number += batch.num_rows


def _rows(batch: Any, before: int) -> Iterator[Row]:
    """Each row by itself where the batch holds something that is no Python value."""
    try:
        values = batch.to_pylist()
    except ValueError:
        for at in range(batch.num_rows):
            yield _row(batch.slice(at, 1), before + at + 1)
        return
    for at, one in enumerate(values, start=1):
        yield Row(before + at, {name: _plain(cell) for name, cell in one.items()})


def _row(batch: Any, number: int) -> Row:
    try:
        (values,) = batch.to_pylist()
    except UnicodeDecodeError:
        return Row(number, {}, "the text is not UTF-8. Save it as UTF-8.")
    except ValueError as error:
        return Row(number, {}, f"it cannot be read ({_first_line(error)}). Correct it.")
    return Row(number, {name: _plain(cell) for name, cell in values.items()})


def _plain(value: Any) -> Any:
    """Dates and decimal numbers as texts, as other files have them; maps as mappings."""
    if isinstance(value, list):
        if value and all(isinstance(item, tuple) for item in value):
            return {str(key): _plain(item) for key, item in value}
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
