"""Joining: the texts of two windows that overlap, as one text without doubled or lost words.

A window hears its edges badly: words that it cuts in two, and words without what is said before or after them. So the
texts are joined in the middle of the longest run of words that both have at about the same time; what stands before it
is the earlier window's, what stands behind it the later one's. Where they agree in nothing, the middle of what both
heard parts them, unless one of them heard nothing on its side of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vllm_flow.core.transcripts import Spoken

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Characters of writing without blanks between words: of Thai, Lao, Burmese, Khmer, Japanese and Chinese."""
WORD = re.compile(rf"[{UNSPACED}]\s*|[^\s{UNSPACED}]+\s*")
SIGNS = re.compile(r"\W+")
APART_S = 4.0
"""Times of words are guesses, within a sentence; further apart, equal words are said twice."""


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    """With the blanks behind it."""
    key: str
    at_s: float
    """Its middle, as if all letters of a piece took the same time."""
    piece: int
    """Which piece it is of."""


@dataclass(frozen=True, slots=True, order=True)
class _Run:
    """Words that both have; the longest is the greatest, and of equally long ones that whose times agree best."""

    words: int
    agreement_s: float
    """How far its times are apart on average, below 0."""
    left: int
    right: int


def joined(before: Sequence[Spoken], after: Sequence[Spoken], from_s: float, to_s: float) -> tuple[Spoken, ...]:
    """Two texts, of which both heard what lies between two times."""
    left, right = _words(before), _words(after)
    cut_left, cut_right = _cuts(left, right, from_s, to_s)
    kept, rest = _of(before, left[:cut_left]), _of(after, right[cut_right:])
    if not kept or not rest:
        return (*kept, *rest)
    inside = _inside(left, cut_left), _inside(right, cut_right)
    last, first = kept[-1], rest[0]
    if all(inside):  # one sentence, heard in two halves
        blank = " " if left[cut_left - 1].text[-1:].isspace() else ""
        whole = Spoken(last.start_s, max(last.start_s, first.end_s), f"{last.text}{blank}{first.text}")
        return (*kept[:-1], whole, *rest[1:])
    meet_s = round(max(last.start_s, (left[cut_left - 1].at_s + right[cut_right].at_s) / 2), 3)
    if inside[0]:
        last = replace(last, end_s=meet_s)
    if inside[1] or first.start_s < last.start_s:
        first = replace(first, start_s=meet_s, end_s=max(meet_s, first.end_s))
    return (*kept[:-1], last, first, *rest[1:])


def _inside(words: Sequence[_Word], cut: int) -> bool:
    """Whether a piece is cut there."""
    return 0 < cut < len(words) and words[cut - 1].piece == words[cut].piece


def _words(pieces: Sequence[Spoken]) -> list[_Word]:
    found = []
    for number, piece in enumerate(pieces):
        length = max(1, len(piece.text))
        for match in WORD.finditer(piece.text):
            share = (match.start() + match.end()) / 2 / length
            at_s = piece.start_s + share * (piece.end_s - piece.start_s)
            found.append(_Word(match[0], SIGNS.sub("", match[0]).casefold(), at_s, number))
    return found


def _cuts(left: Sequence[_Word], right: Sequence[_Word], from_s: float, to_s: float) -> tuple[int, int]:
    """How many words of the first stay, and from which on those of the second."""
    first = next((place for place, word in enumerate(left) if word.at_s >= from_s - APART_S), len(left))
    last = next((place for place, word in enumerate(right) if word.at_s > to_s + APART_S), len(right))
    middle_s, best = (from_s + to_s) / 2, None
    for run in _runs(left, right, range(first, len(left)), range(last)):
        if best is None or run > best:
            best = run
    if best is not None:
        return best.left + best.words // 2, best.right + best.words // 2
    stop = next((place for place, word in enumerate(left) if word.at_s >= middle_s), len(left))
    start = next((place for place, word in enumerate(right) if word.at_s >= middle_s), len(right))
    if stop == len(left):
        return stop, 0  # the first fell silent before: nothing of the second has been said yet
    return (len(left), 0) if start == 0 else (stop, start)


def _runs(left: Sequence[_Word], right: Sequence[_Word], tail: range, head: range) -> Iterator[_Run]:
    """All runs of equal words at about the same time, in the end of the one and the beginning of the other."""
    lengths: dict[tuple[int, int], int] = {}
    for at in reversed(tail):
        for there in reversed(head):
            one, other = left[at], right[there]
            if one.key and one.key == other.key and abs(one.at_s - other.at_s) <= APART_S:
                words = lengths[at, there] = 1 + lengths.get((at + 1, there + 1), 0)
                apart = sum(abs(left[at + step].at_s - right[there + step].at_s) for step in range(words)) / words
                yield _Run(words, -apart, at, there)


def _of(pieces: Sequence[Spoken], words: Sequence[_Word]) -> tuple[Spoken, ...]:
    """The pieces, of those words alone."""
    found = []
    for number, piece in enumerate(pieces):
        own = [one.text for one in words if one.piece == number]
        if own:
            found.append(replace(piece, text="".join(own).strip()))
    return tuple(found)
