"""Seals: what stands for control tokens where our side has written them, so that what others spell is told from it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from vllm_flow.core.errors import EngineError

SEAL = "\U0010fffe"
"""One of Unicode's noncharacters, which stand for nothing and are in no text that is meant to be exchanged."""
FIRST = 0xF0000
"""Of Unicode's private use: which control token a seal is for."""


class Place(NamedTuple):
    """Where a control token stands in a text."""

    start: int
    stop: int
    name: str


class Seals:
    """The control tokens of one model by their names, and what stands for each where our side has written it."""

    def __init__(self, names: Mapping[int, str], unknown: int | None = None) -> None:
        """names: by token id. unknown: the one that also stands for what the vocabulary has not."""
        self.names = dict(names)
        self.unknown = unknown
        self._of = {name: f"{SEAL}{chr(FIRST + place)}" for place, name in enumerate(self.names.values())}
        self._named = {seal[1]: name for name, seal in self._of.items()}
        self._ids = {name: token_id for token_id, name in self.names.items()}
        longest_first = sorted(self._of, key=len, reverse=True)
        self.begins = frozenset(name[0] for name in longest_first)
        """The letters that their names begin with."""
        begin = re.escape("".join(sorted(self.begins)))
        self._spelled = re.compile(f"(?=[{begin}])(?:{'|'.join(map(re.escape, longest_first))})" if begin else "(?!)")

    def seal(self, text: str) -> str:
        """What our side writes, with its control tokens sealed."""
        return self._spelled.sub(lambda found: self._of[found[0]], text)

    def seal_at(self, sealed: str, places: Sequence[Place]) -> str:
        """Those too that stand at these places."""
        for one in sorted(places, key=lambda one: one.start, reverse=True):
            sealed = f"{sealed[: one.start]}{self._of[one.name]}{sealed[one.stop :]}"
        return sealed

    def unseal(self, sealed: str) -> str:
        """The text as it is without seals."""
        return "".join(said + name for said, name in self._parts(sealed))

    def pieces(self, sealed: str) -> Iterator[tuple[str, int | None]]:
        """What stands before each seal, and the seal's token id; at the end, what stands behind them all."""
        return ((said, self._ids.get(name)) for said, name in self._parts(sealed))

    def places(self, sealed: str) -> list[Place]:
        """Where the sealed ones stand in the text without seals."""
        found, place = list[Place](), 0
        for said, name in self._parts(sealed):
            start = place + len(said)
            place = start + len(name)
            if name:
                found.append(Place(start, place, name))
        return found

    def spelled(self, text: str) -> list[Place]:
        """Where a text spells control tokens, for tokenizers that do not tell what they find."""
        return [Place(one.start(), one.end(), one[0]) for one in self._spelled.finditer(text)]

    def unsealed_places(self, sealed: str) -> Callable[[int], int]:
        """From a place in the sealed text to that in the text without seals."""
        grown = [0, *accumulate(one.stop - one.start - 2 for one in self.places(sealed))]
        ends = [one.stop - grew for one, grew in zip(self.places(sealed), grown[1:], strict=True)]
        return lambda place: place + grown[bisect_right(ends, place)]

    def _parts(self, sealed: str) -> list[tuple[str, str]]:
        """What stands before each seal, with its name; at the end, what stands behind them all, without."""
        first, *others = sealed.split(SEAL)
        names = [self._named.get(one[:1], f"{SEAL}{one[:1]}") for one in others]
        return list(zip([first, *(one[1:] for one in others)], [*names, ""], strict=True))


def theirs(found: Sequence[Place], ours: Sequence[Place]) -> list[Place]:
    """The control tokens that a tokenizer finds in a text and our side has not written."""
    written = set(ours)
    return [one for one in found if one not in written]


def in_pieces(seals: Seals, sealed: str, encode: Callable[[str], list[int]]) -> list[int]:
    """The ids of a sealed text from a tokenizer whose vocabulary cannot be changed: cut at the seals.

    encode: reads no control token where it can be told not to. Where one comes of it all the same, what it comes of is
    cut in two.
    """
    ids = list[int]()
    for said, token_id in seals.pieces(sealed):
        ids += _read_as_text(seals, said, encode) if said else []
        ids += [] if token_id is None else [token_id]
    return ids


def _read_as_text(seals: Seals, said: str, encode: Callable[[str], list[int]]) -> list[int]:
    ids = encode(said)
    wrong = [one for one in ids if one in seals.names and (one != seals.unknown or seals.names[one] in said)]
    if not wrong:
        return ids
    name = seals.names[wrong[0]]
    middle = said.index(name) + len(name) // 2 if name in said else len(said) // 2
    if not 0 < middle < len(said):
        raise unclear(name)
    return [*_read_as_text(seals, said[:middle], encode), *_read_as_text(seals, said[middle:], encode)]


def check_no_seals(text: str) -> None:
    """Raises EngineError for a text that nobody could have written."""
    if SEAL in text:
        raise EngineError("prompt: it has U+10FFFE in it, a code point that stands for no character. Leave it out.")


def unclear(name: str) -> EngineError:
    return EngineError(
        f"prompt: the control token {name} is in it, and the model's chat template does not let it be told who wrote "
        "it. Leave it out of the messages, or choose a model with another template."
    )
