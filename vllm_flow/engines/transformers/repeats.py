"""Repeats: which tokens would go on with what was said before, and how long that repetition is already (for DRY).

Found anew at every token, in time linear in the number of tokens whatever they are: there is nothing to keep in step
when a schedule turns DRY on in the middle of an answer.
"""

from __future__ import annotations

from collections.abc import Container, Sequence


def repeats(tokens: Sequence[int], breakers: Container[int]) -> dict[int, int]:
    """For each token that followed the end of `tokens` earlier: the length of the longest such end, 1 or more.

    An end reaches back to the nearest breaker at most, and no breaker is a key.
    """
    newest_first = tokens[::-1]
    reach = next((place for place, token in enumerate(newest_first) if token in breakers), len(tokens))
    longest: dict[int, int] = {}
    if reach == 0:
        return longest
    for place, length in enumerate(common_prefixes(newest_first)[1:]):
        after = newest_first[place]
        if length > 0 and after not in breakers:
            longest[after] = max(longest.get(after, 0), min(length, reach))
    return longest


def common_prefixes(tokens: Sequence[int]) -> list[int]:
    """For each place, how many tokens from there on equal those from the first on (Z algorithm: Gusfield 1997, 1.4)."""
    size = len(tokens)
    lengths = [size, *[0] * (size - 1)] if size else []
    start = end = 0  # of the stretch found so far that equals a beginning and ends last
    for place in range(1, size):
        length = min(lengths[place - start], end - place) if place < end else 0
        while place + length < size and tokens[length] == tokens[place + length]:
            length += 1
        lengths[place] = length
        if place + length > end:
            start, end = place, place + length
    return lengths
