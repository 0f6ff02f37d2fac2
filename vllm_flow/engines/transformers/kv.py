"""The KV cache: keys and values of every sequence in flight, at every layer.

While its prompt is read, a sequence has tensors of its own, cut to measure. Then it joins `Slots`: sequences of one
class of length lie side by side, so that one attention call serves them all, without a copy. The shape of that call
follows from a sequence's own length, never from its company's, and so does the rounding of what it computes.

A *plane* is the keys or the values of one layer: plane 2i holds the keys of layer i, plane 2i+1 its values.
"""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass

import torch
from torch import Tensor

STEP = 64
"""Lengths of the classes are multiples of this many tokens."""


@dataclass(frozen=True, slots=True)
class Plane:
    """What one plane keeps for one token."""

    heads: int
    dim: int


class Sequence:
    """One sequence's place in the cache."""

    def __init__(self, planes: Many[Tensor]) -> None:
        self.length = 0
        """How many tokens' keys and values it holds."""
        self.planes = list(planes)
        """[1, heads, capacity, dim] each, until it joins slots."""
        self.slots: Slots | None = None
        self.slot = 0

    def append(self, planes: Many[Tensor]) -> None:
        """Take over keys and values of the tokens that follow, [1, heads, tokens, dim] each."""
        end = self.length + planes[0].shape[2]
        for own, given in zip(self.planes, planes, strict=True):
            own[:, :, self.length : end] = given
        self.length = end

    def copied(self, start: int) -> list[Tensor]:
        """Keys and values from a position on."""
        return [plane[:, :, start : self.length].clone() for plane in self.planes]


class Slots:
    """Sequences of up to `length` tokens each; number i has slot i, so that those in use are the first ones."""

    def __init__(self, length: int, empty: Many[Tensor]) -> None:
        self.length = length
        self.sequences: list[Sequence] = []
        self.planes = list(empty)
        """[capacity, heads, length, dim] each."""
        self._used = 0
        """How many slots have ever been in use: what is in the others may be anything."""

    def add(self, sequence: Sequence) -> None:
        """Move a sequence in, from wherever its planes are."""
        slot = len(self.sequences)
        if slot == self.planes[0].shape[0]:
            self._grow(max(2, slot + slot // 2))
        for plane, source in zip(self.planes, sequence.planes, strict=True):
            plane[slot, :, : sequence.length] = source[0, :, : sequence.length]
            if slot == self._used:
                # Zeros: a masked position still takes part in the sum, and 0 times NaN would be NaN.
                plane[slot, :, sequence.length :] = 0
        self._used = max(self._used, slot + 1)
        self.sequences.append(sequence)
        sequence.slots, sequence.slot = self, slot
        sequence.planes = []

    def remove(self, sequence: Sequence) -> None:
        """Move a sequence out; the last one takes its slot."""
        last = self.sequences.pop()
        if last is not sequence:
            for plane in self.planes:
                plane[sequence.slot, :, : last.length] = plane[last.slot, :, : last.length]
            self.sequences[sequence.slot] = last
            last.slot = sequence.slot
        sequence.slots = None

    def _grow(self, capacity: int) -> None:
        """To have room; the system gives the memory of a slot only when something is written to it."""
        for place, plane in enumerate(self.planes):
            self.planes[place] = plane.new_empty(capacity, *plane.shape[1:])
            self.planes[place][: plane.shape[0]] = plane


class KVCache:
    """All sequences of one model."""

    def __init__(self, planes: Many[Plane], dtype: torch.dtype, device: torch.device) -> None:
        self._planes = tuple(planes)
        self._like = torch.empty(0, dtype=dtype, device=device)
        self._classes: dict[int, Slots] = {}

    @property
    def bytes_per_token(self) -> int:
        return self._like.element_size() * sum(plane.heads * plane.dim for plane in self._planes)

    @property
    def classes(self) -> list[Slots]:
        """Those that hold a sequence, from short to long."""
        return [slots for _, slots in sorted(self._classes.items())]

    def sequence(self, capacity: int) -> Sequence:
        """A new one, with room for a prompt of this many tokens."""
        return Sequence([self._like.new_zeros(1, one.heads, capacity, one.dim) for one in self._planes])

    def make_room(self, sequence: Sequence) -> None:
        """See to it that the sequence is in slots that have room for one token more."""
        if sequence.slots is not None and sequence.length < sequence.slots.length:
            return
        if (slots := sequence.slots) is not None:
            planes = [plane[sequence.slot : sequence.slot + 1, :, : sequence.length].clone() for plane in slots.planes]
            self.leave(sequence)
            sequence.planes = planes
        self._slots(class_of(sequence.length + 1)).add(sequence)

    def leave(self, sequence: Sequence) -> None:
        """Forget a sequence. Slots that nobody uses any more give their memory back."""
        sequence.planes = []
        if (slots := sequence.slots) is not None:
            slots.remove(sequence)
            if not slots.sequences:
                del self._classes[slots.length]

    def _slots(self, length: int) -> Slots:
        if length not in self._classes:
            empty = [self._like.new_zeros(0, one.heads, length, one.dim) for one in self._planes]
            self._classes[length] = Slots(length, empty)
        return self._classes[length]


def class_of(tokens: int) -> int:
    """The length of the smallest class that holds this many: 64 times 1, 2, 3, 4, 6, 8, 12, 16, 24, …"""
    steps = -(-tokens // STEP)
    power = 1 << (steps - 1).bit_length()
    return STEP * (power * 3 // 4 if power >= 4 and steps <= power * 3 // 4 else power)
