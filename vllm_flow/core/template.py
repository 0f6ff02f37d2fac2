"""Templates: a text with `{column}` in it, filled from a row.

Placeholders are looked up by their whole name and nothing else, so a template reaches nothing but the row: unlike
`str.format`, there are no attributes, no indices and no conversions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any

from vllm_flow.core.codec import to_json


@dataclass(frozen=True, slots=True)
class Template:
    pieces: tuple[tuple[str, str | None], ...]
    """A literal, and the column that follows it; None at the end."""

    @classmethod
    def parse(cls, text: str) -> Template:
        """Raises ValueError, in words, for what is no template."""
        try:
            parsed = list(Formatter().parse(text))
        except ValueError:
            raise ValueError("a brace stands alone. Write {column}, and {{ or }} for a brace itself.") from None
        for _, name, spec, conversion in parsed:
            if name is not None and (spec or conversion or not name or name != name.strip()):
                raise ValueError(
                    f"'{{{_whole(name, spec, conversion)}}}' does not fit. Write {{column}} with its name."
                )
        return cls(tuple((literal, name) for literal, name, _, _ in parsed))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column once, in the order of the text."""
        return tuple(dict.fromkeys(name for _, name in self.pieces if name is not None))

    def fill(self, values: Mapping[str, Any]) -> str:
        """The text for one row. Raises ValueError when all that the row gives is empty, or cannot be written."""
        cells = {name: written(values[name], name) for name in self.columns}
        if not any(cell.strip() for cell in cells.values()):
            raise ValueError(f"{', '.join(self.columns)}: it is empty. Write what the user says.")
        return "".join(literal + (cells[name] if name is not None else "") for literal, name in self.pieces)


def _whole(name: str, spec: str | None, conversion: str | None) -> str:
    return name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")


def written(value: Any, where: str) -> str:
    """A cell in a text: a text as it is, nothing for null, anything else as JSON writes it. Raises ValueError."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(json_value(value, where), ensure_ascii=False)


def json_value(value: Any, where: str) -> Any:
    """The value, for the record to keep. Raises ValueError for what JSON cannot hold."""
    try:
        return to_json(value)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
