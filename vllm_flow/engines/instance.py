"""An example of a shape, found byte by byte: short, valid, and always the same.

For engines without a model. At each byte the first one is taken that is allowed, in an order that closes what is open;
where that never comes to an end another order is tried. A search for the shortest would have to know when two
beginnings can go on alike, and what is allowed next does not tell.
"""

from __future__ import annotations

import string
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache

from vllm_flow.core.errors import EngineError
from vllm_flow.core.shape import Shape
from vllm_flow.engines.shaping import Shapes, spelled_tokenizer

END = 256
LONGEST = 1024
"""In bytes. What is not complete by then mostly never will be."""
DIGITS = b"1234567890"
CLOSING = b']},:"' + DIGITS + b"-nft[{"
READABLE = string.ascii_lowercase.encode() + DIGITS + string.ascii_uppercase.encode() + b" "
PARTING = b"@.:/-"
"""What comes between the parts of addresses and times."""


@dataclass(frozen=True)
class Order:
    """Which bytes are tried first."""

    first: bytes
    """Within texts, where they do not end."""
    turning: bytes = b""
    """Even before those: one of them at each place, in turn."""

    def within(self, place: int, end: bytes) -> bytes:
        """end: what ends the text."""
        turn = self.turning[place % len(self.turning) :][:1] if self.turning else b""
        return _each(end + turn + self.first)

    def outside(self) -> bytes:
        return _each(CLOSING + self.first)


@lru_cache(maxsize=256)
def instance(shape: Shape) -> str:
    """A text of this shape: the first of choices. Raises EngineError when none is found."""
    if shape.choices is not None:
        return shape.choices[0]
    for order in _orders(shape):
        found = _walked(shape, order)
        if found is not None:
            return found.decode()
    what = f"no example of the answer's {shape.kind} was found"
    raise EngineError(f"{what}. Write a simpler one, or say one as the user.")


def _orders(shape: Shape) -> Iterator[Order]:
    yield Order(READABLE)
    yield Order(PARTING + READABLE)
    yield Order(READABLE, READABLE)
    yield Order(READABLE, (shape.regex or shape.schema or "").encode())  # it spells what it asks for
    yield Order(READABLE[::-1])


@cache
def _each(some: bytes) -> bytes:
    """Those first, and each byte once."""
    return bytes(dict.fromkeys(some + bytes(range(32, 127)) + bytes(range(END))))


def _walked(shape: Shape, order: Order) -> bytes | None:
    """The first text that comes to an end, or None if it is too long."""
    shaping, said, place = _bytes().begin(shape), bytearray(), 0
    end = b"" if shape.schema is None else b'"'
    quoted = not end
    for _ in range(LONGEST):
        shaping.look()
        if shaping.allows(END):
            return bytes(said)
        one = next(one for one in (order.within(place, end) if quoted else order.outside()) if shaping.allows(one))
        shaping.take(one)
        place += quoted
        if bytes([one]) == end and not _is_escaped(said):
            quoted, place = not quoted, 0
        said.append(one)
        if shaping.over:
            return bytes(said)
    return None


def _is_escaped(said: bytearray) -> bool:
    """Whether what comes next stands behind a backslash that is none itself."""
    return (len(said) - len(said.rstrip(b"\\"))) % 2 == 1


@cache
def _bytes() -> Shapes:
    tokens = [bytes([one]) for one in range(END)]
    return Shapes(lambda: spelled_tokenizer([*tokens, b"<end>"], [END], [END], list))
