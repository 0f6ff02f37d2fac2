"""How far what was read or heard is from what is there, in characters or in words."""

from __future__ import annotations

from collections.abc import Sequence


def distance(given: Sequence[str], found: Sequence[str]) -> int:
    """Levenshtein's: how many were changed, lost or added."""
    row = list(range(len(found) + 1))
    for place, one in enumerate(given, start=1):
        corner, row[0] = row[0], place
        for at, other in enumerate(found, start=1):
            corner, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, corner + (one != other))
    return row[-1]
