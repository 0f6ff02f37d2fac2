"""Attribution: which tokens of a rendered prompt come from which part of which message; the rest is the template's.

A template is a program that may trim, move or leave out what it is given. So it is run a second time, with a mark in
place of each part: what stands between the marks is its own, and what stands between that in the real text is the
parts', whatever has become of them.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import accumulate
from typing import Any, cast

from vllm_flow.core.ledger import Measured
from vllm_flow.core.messages import Message
from vllm_flow.core.values import Prompt

MARK = re.compile("\ue000([0-9]{1,9})\ue001")
"""Of Unicode's private use, so that no template looks for it."""
Span = tuple[int, int, int]
"""Where a part begins in the text, where it ends, and which one it is, counted through all messages."""


@dataclass(frozen=True)
class Encoded:
    """A text as tokens, with where they stand in it."""

    text: str
    ids: Sequence[int]
    begun: Callable[[int], int]
    """How many tokens begin before this place in the text: one that begins with the space before a word begins there,
    one that begins with the space before the place begins at the place."""


def measured(prompt: Prompt, read: Callable[[Prompt], Encoded], rendered: Callable[[Prompt], str]) -> Measured:
    """What its parts take, and its tools: by how much it is longer with them. rendered: the text that `read` reads."""
    encoded = read(prompt)
    parts = [part for message in prompt.messages for part in message.parts]
    counts = [0] * len(parts)
    for start, stop, number in spans(encoded.text, rendered(marked(prompt)), [part.text for part in parts]):
        counts[number] += encoded.begun(stop) - encoded.begun(start)
    left = iter(counts)
    found = Measured(len(encoded.ids), tuple(tuple(next(left) for _ in one.parts) for one in prompt.messages))
    if not prompt.tools:
        return found
    without = len(read(replace(prompt, tools=())).ids)
    return replace(found, tools=max(0, min(found.template, found.tokens - without)))


def marked(prompt: Prompt) -> Prompt:
    """The prompt with a mark in place of each part's text. A message that says nothing stays so: templates ask."""
    number, messages = 0, list[Message]()
    for message in prompt.messages:
        parts = list[Any]()
        for part in message.parts:
            has_text = is_dataclass(part) and any(one.name == "text" for one in fields(part))
            keep = not has_text or not message.text.strip()
            parts.append(part if keep else replace(cast(Any, part), text=f"\ue000{number}\ue001"))
            number += 1
        messages.append(replace(message, parts=tuple(parts)))
    return replace(prompt, messages=tuple(messages))


def spans(text: str, skeleton: str, parts: Sequence[str]) -> Iterator[Span]:
    """Where each part stands in the text. skeleton: the text with marks. Parts that are not there have no span."""
    place = 0
    for before, run, after in _runs(skeleton):
        if not text.startswith(before, place) or max(run) >= len(parts):
            return  # the template says something else around marks than around texts: then it is all its own
        place += len(before)
        joined = "".join(parts[number] for number in run)
        last = after is None
        stop = _stop(text, place, joined, after or "", last)
        if stop is None:
            return
        yield from _within(text, place, stop, [(number, parts[number]) for number in run])
        place = stop


def _runs(skeleton: str) -> Iterator[tuple[str, list[int], str | None]]:
    """What the template says before marks that follow one another, which these are, and what it says behind them."""
    pieces = MARK.split(skeleton)  # what stands between, and each mark's number, in turn
    before, run = pieces[0], list[int]()
    for number, behind in zip(pieces[1::2], pieces[2::2], strict=True):
        run.append(int(number))
        if behind:
            yield before, run, behind
            before, run = behind, []
    if run:
        yield before, run, None


def _stop(text: str, place: int, joined: str, after: str, last: bool) -> int | None:
    """Where what was put in place of the marks ends: as it is, trimmed, or however it was changed."""
    for found in (joined, joined.rstrip(), joined.lstrip(), joined.strip()):
        stop = place + len(found)
        if text.startswith(found, place) and (stop == len(text) if last else text.startswith(after, stop)):
            return stop
    stop = len(text) if last else text.find(after, place)
    return None if stop < 0 else stop


def _within(text: str, start: int, stop: int, parts: Sequence[tuple[int, str]]) -> Iterator[Span]:
    """The parts that stand here one after the other. What is between two that are found is the former's."""
    found = list[tuple[int, int]]()
    place = start
    for number, said in parts:
        trimmed = said.strip()
        at = text.find(trimmed, place, stop) if trimmed else -1
        if text.startswith(said, place) and place + len(said) <= stop:
            at, trimmed = place, said
        if at >= 0:
            found.append((at, number))
            place = at + len(trimmed)
    if not found and parts:
        found = [(start, parts[0][0])]  # it was changed past knowing, and is what this part has become
    for (at, number), end in zip(found, [*(at for at, _ in found[1:]), stop], strict=True):
        yield at, end, number


def by_offsets(text: str | bytes, offsets: Sequence[tuple[int, int]]) -> Callable[[int], int]:
    """`Encoded.begun` of tokens whose places are known. Those without any, put around a text, begin nowhere."""
    starts = array("q", [start for start, end in offsets if start < end])
    ends = array("q", [end for start, end in offsets if start < end])

    def begun(place: int) -> int:
        count = bisect_left(starts, place)
        if count and ends[count - 1] > place and text[starts[count - 1] : place].isspace():
            return bisect_left(starts, starts[count - 1])
        return count

    return begun


def by_pieces(text: str, pieces: Sequence[bytes]) -> Callable[[int], int] | None:
    """`Encoded.begun` of tokens that say what they stand for; None when that is not the text, but for what is before.

    A tokenizer may put a token or a space before a text.
    """
    data, joined = text.encode("utf-8", "replace"), b"".join(pieces)
    if not joined.endswith(data):
        return None
    ends = [max(0, end - len(joined) + len(data)) for end in accumulate(map(len, pieces))]
    begun = by_offsets(data, list(zip([0, *ends], ends, strict=False)))
    return lambda place: begun(len(text[:place].encode("utf-8", "replace")))


def by_lengths(text: str, count: int, encode: Callable[[str], Sequence[int]]) -> Callable[[int], int]:
    """`Encoded.begun` where nothing tells the places: by how many tokens the text up to there has."""

    def begun(place: int) -> int:
        return count if place >= len(text) else min(count, len(encode(text[:place])))

    return begun
