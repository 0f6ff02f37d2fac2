"""The KV cache: keys and values of every sequence in flight, at every layer.

While its prompt is read, a sequence has tensors of its own, cut to measure. Then it joins `Slots`: sequences of one
class of length lie side by side, so that one attention call serves many, without a copy. The shape of that call
follows from a sequence's own length, never from its company's, and so does the rounding of what it computes.
"""

from __future__ import annotations

from collections.abc import Sequence as Many

import torch

from vllm_flow.engines.transformers.heap import give_back
from vllm_flow.engines.transformers.slots import Plane, Sequence, Slots, Stacks

STEP = 64
"""Lengths of the classes are multiples of this many tokens."""
ROWS = (32, 128)
"""Of a class that lie side by side, at least and at most: the more, the fewer calls a step takes."""
SIDE_BY_SIDE = 512 << 20
"""Bytes of those beyond the least: with more, too much memory waits for the last of them to leave."""
AT_ONCE = 4 << 30
"""Bytes of rows side by side, if they are more than one: the system refuses a single request for more than it has, even
if little of it would be used."""
LONG = 8 << 20
"""Bytes of a sequence from where on copying it takes long, and what it leaves behind is given back to the system."""
SPARE = 256 << 20
"""Bytes at most of what a long one leaves behind and the next of its class gets: asking the system takes longer."""


class KVCache:
    """All sequences of one model."""

    def __init__(self, planes: Many[Plane], dtype: torch.dtype, device: torch.device) -> None:
        self._planes = tuple(planes)
        self._like = torch.empty(0, dtype=dtype, device=device)
        self._classes: dict[int, list[Slots]] = {}
        self._spare: Stacks | None = None

    @property
    def bytes_per_token(self) -> int:
        return self._like.element_size() * sum(plane.heads * plane.dim for plane in self._planes)

    @property
    def held(self) -> list[Slots]:
        """Those that hold a sequence, from short to long."""
        return [slots for _, several in sorted(self._classes.items()) for slots in several]

    def sequence(self, prompt_tokens: int) -> Sequence:
        """A new one, with room for a prompt of this many tokens and the token after it."""
        return Sequence(lambda: self._stacks(prompt_tokens + 1))

    def make_room(self, sequence: Sequence) -> None:
        """See to it that the sequence is in slots that have room for one token more."""
        slots = sequence.slots
        if slots is None:
            self._settle(sequence)
        elif sequence.length == slots.length:
            twin = self.fork(sequence)  # if there is no memory for it, the sequence stays where it is
            self.leave(sequence)
            if twin.slots is not None:
                twin.slots.give_over(twin, sequence)

    def fork(self, sequence: Sequence) -> Sequence:
        """Another in slots that holds the same, with room for one token more."""
        if (slots := sequence.slots) is None:
            raise ValueError("it is in no slots")
        twin = Sequence()
        twin.length, twin.shown = sequence.length, sequence.shown
        twin.own = self._stacks(sequence.length + 1)
        twin.own.copy(0, slots.stacks, sequence.slot, sequence.length)
        self._settle(twin)
        return twin

    def leave(self, sequence: Sequence) -> None:
        """Forget a sequence. The last one of its class takes its slot; what nobody uses any more gives memory back."""
        slots, own = sequence.slots, sequence.own
        sequence.let_go()
        if slots is None:
            self._keep(own)
            return
        several = self._classes[slots.length]
        last = several[-1].sequences.pop()
        if last is not sequence:
            slots.take_over(sequence.slot, last)
        if not several[-1].sequences:
            self._keep(several.pop().stacks)
        if not several:
            del self._classes[slots.length]

    def _settle(self, sequence: Sequence) -> None:
        """Move what is in stacks of its own into slots."""
        place, own = self._place_for(sequence), sequence.stacks
        place.add(sequence)
        if place.stacks is not own:
            self._keep(own)
            if self._is_long(sequence.length):
                give_back()

    def _stacks(self, tokens: int) -> Stacks:
        capacity = class_of(tokens)
        if self._is_long(capacity):
            spare, self._spare = self._spare, None
            if spare is not None and spare.capacity == capacity:
                return spare
        return Stacks(self._planes, capacity, self._like)

    def _keep(self, stacks: Stacks | None) -> None:
        """What one long sequence leaves, for the next turn of a conversation, which is about as long."""
        if stacks is None or stacks.rows > 1 or not self._is_long(stacks.capacity):
            return
        if stacks.capacity * self.bytes_per_token <= SPARE:
            self._spare = stacks

    def _place_for(self, sequence: Sequence) -> Slots:
        """Where it is to join the others of its class; a long one that is the first of them stays where it is."""
        length = class_of(sequence.length + 1)
        several = self._classes.setdefault(length, [])
        if several and not several[-1].full:
            return several[-1]
        if self._is_long(sequence.length) and not several and sequence.stacks.capacity == length:
            stacks = sequence.stacks
        else:
            stacks = Stacks(self._planes, length, self._like, self._side_by_side(length))
        several.append(Slots(len(several), stacks))
        return several[-1]

    def _side_by_side(self, length: int) -> int:
        """How many rows of this class."""
        (least, most), bytes_each = ROWS, length * self.bytes_per_token
        least = max(1, min(least, AT_ONCE // bytes_each))
        return max(least, min(most, SIDE_BY_SIDE // bytes_each))

    def _is_long(self, tokens: int) -> bool:
        return tokens * self.bytes_per_token > LONG


def class_of(tokens: int) -> int:
    """The length of the smallest class that holds this many: 64 times 1, 2, 3, 4, 6, 8, 12, 16, 24, …"""
    steps = -(-tokens // STEP)
    power = 1 << (steps - 1).bit_length()
    return STEP * (power * 3 // 4 if power >= 4 and steps <= power * 3 // 4 else power)
