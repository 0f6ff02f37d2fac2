"""Where one sequence's keys and values are: in tensors of its own while a prompt is read, then in slots beside others.

A *plane* is the keys or the values of one layer: plane 2i holds the keys of layer i, plane 2i+1 its values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from vllm_flow.engines.transformers.senses.shown import Shown


@dataclass(frozen=True, slots=True)
class Plane:
    """What one plane keeps for one token."""

    heads: int
    dim: int


class Stacks:
    """The planes of some sequences, those of one shape in one tensor: copied with one call, not sixty.

    Their memory is asked for at once, but the system gives that of a row only when something is written to it.
    """

    def __init__(self, planes: Many[Plane], capacity: int, like: Tensor, rows: int = 1) -> None:
        self.capacity = capacity
        self.rows = rows
        of_shape = Counter(planes)
        self.tensors = [like.new_empty(n, rows, one.heads, capacity, one.dim) for one, n in of_shape.items()]
        """[planes of the shape, rows, heads, capacity, dim] each."""
        of_kind = {shape: iter(tensor) for shape, tensor in zip(of_shape, self.tensors, strict=True)}
        self.planes = [next(of_kind[one]) for one in planes]
        """[rows, heads, capacity, dim] each."""

    def copy(self, row: int, source: Stacks, of_row: int, tokens: int) -> None:
        """Copy the first tokens of a row of another's into a row of this."""
        for own, other in zip(self.tensors, source.tensors, strict=True):
            own[:, row, :, :tokens] = other[:, of_row, :, :tokens]

    def clear(self, row: int, start: int) -> None:
        """Put zeros behind the tokens of a row: a masked place still takes part in a sum, and 0 times NaN is NaN."""
        for own in self.tensors:
            own[:, row, :, start:] = 0


class Sequence:
    """One sequence's place in the cache."""

    def __init__(self, make: Callable[[], Stacks] | None = None) -> None:
        """make: its planes, when something is first put in them: many may be waiting. None: the model has its own."""
        self._make = make
        self.length = 0
        """How many tokens' keys and values it holds."""
        self.slots: Slots | None = None
        self.slot = 0
        self.own: Stacks | None = None
        """What it has of its own, until it joins slots."""
        self.shown: Shown | None = None
        """The media that stand among its tokens; None of texts alone."""

    @property
    def stacks(self) -> Stacks:
        """Its own, made if need be."""
        if self.own is None and self._make is not None:
            self.own = self._make()
        if self.own is None:
            raise ValueError("its keys and values are not here")
        return self.own

    @property
    def planes(self) -> list[Tensor]:
        """[1, heads, capacity, dim] each, until it joins slots."""
        return self.stacks.planes

    def append(self, pieces: Many[Tensor]) -> None:
        """Take over keys and values of the tokens that follow, as `copied` gives them."""
        end = self.length + pieces[0].shape[3]
        for own, given in zip(self.stacks.tensors, pieces, strict=True):
            own[:, :, :, self.length : end] = given
        self.length = end

    def copied(self, start: int, stop: int) -> list[Tensor]:
        """Keys and values of some tokens: [planes of a shape, 1, heads, tokens, dim] each."""
        return [one[:, :, :, start:stop].clone() for one in self.stacks.tensors]

    def let_go(self) -> None:
        """Of all its planes."""
        self._make = self.own = self.slots = None


class Slots:
    """Some sequences of up to `length` tokens each; number i has slot i, so that those in use are the first."""

    def __init__(self, number: int, stacks: Stacks) -> None:
        self.length = stacks.capacity
        self.number = number
        """Among those of its length."""
        self.sequences: list[Sequence] = []
        self.stacks = stacks
        """A slot is a row of these; with one, they may have been a sequence's own."""

    @property
    def planes(self) -> list[Tensor]:
        """[room, heads, length, dim] each."""
        return self.stacks.planes

    @property
    def full(self) -> bool:
        return len(self.sequences) == self.stacks.rows

    def add(self, sequence: Sequence) -> None:
        """Move a sequence in that has stacks of its own. If they are those of the only slot, nothing is copied."""
        slot = len(self.sequences)
        if self.stacks is not sequence.stacks:
            self.stacks.copy(slot, sequence.stacks, 0, sequence.length)
        self.stacks.clear(slot, sequence.length)
        self.sequences.append(sequence)
        sequence.let_go()
        sequence.slots, sequence.slot = self, slot

    def give_over(self, sequence: Sequence, other: Sequence) -> None:
        """Let another have the slot of one of these, and all that is in it."""
        self.sequences[sequence.slot] = other
        other.slots, other.slot = self, sequence.slot

    def take_over(self, slot: int, sequence: Sequence) -> None:
        """Move a sequence from other slots of this length into one that is free now."""
        if sequence.slots is None:
            raise ValueError("it is in no slots")
        self.stacks.copy(slot, sequence.slots.stacks, sequence.slot, self.length)  # zeros and all
        self.sequences[slot] = sequence
        sequence.slots, sequence.slot = self, slot
