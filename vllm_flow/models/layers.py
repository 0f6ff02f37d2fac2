"""Which decoder layers run, written as `0-11,20-29`: numbers from 0, ranges with both ends, in the order they run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

ITEM = re.compile(r"\s*(\d{1,3})\s*(?:-\s*(\d{1,3})\s*)?", re.ASCII)
RIGHT = "Write numbers from 0 and ranges such as 0-11,20-29."


def parse_layers(text: str) -> tuple[int, ...]:
    """The layers in the order in which they are written; one may stand in it several times, and then runs as often.

    Raises ValueError, which says what is wrong and what would be right.
    """
    if not text.strip():
        raise ValueError(f"it names no layer. {RIGHT}")
    found: list[int] = []
    for item in text.split(","):
        read = ITEM.fullmatch(item)
        if read is None:
            raise ValueError(f"'{item.strip()}' in it is no layer and no range of layers. {RIGHT}")
        first, last = int(read[1]), int(read[2] or read[1])
        if last < first:
            raise ValueError(f"the range {first}-{last} in it runs backwards. Write {last}-{first}, or single numbers.")
        found += range(first, last + 1)
    return tuple(found)


def check_layers(layers: Sequence[int], there: int) -> None:
    """Raises ValueError when the model does not have all of them. there: how many it has."""
    if not layers:
        raise ValueError(f"it names no layer. {RIGHT}")
    beyond = next((one for one in layers if not 0 <= one < there), None)
    if beyond is not None:
        has = f"the model has {there}, from 0 to {there - 1}" if there > 1 else "the model has one, number 0"
        raise ValueError(f"there is no layer {beyond}: {has}. Leave it out.")


def written_layers(layers: Iterable[int]) -> str:
    """The shortest text that `parse_layers` reads as these."""
    runs: list[list[int]] = []
    for one in layers:
        if runs and one == runs[-1][1] + 1:
            runs[-1][1] = one
        else:
            runs.append([one, one])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
