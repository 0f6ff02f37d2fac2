"""The plain path of models that see or hear: the whole model's own forward pass, one sequence at a time."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from vllm_flow.engines.transformers.loaded import Span
from vllm_flow.engines.transformers.plain import PlainNetwork, PlainSequence
from vllm_flow.engines.transformers.slots import Sequence

DELTAS = "rope_deltas"
"""What some models remember of the sequence they read last: by how much its positions are behind its tokens."""


class WholeNetwork(PlainNetwork):
    """A prompt is read in one piece, its media with it."""

    def __init__(self, whole: Any) -> None:
        super().__init__(whole)
        self._remembering = [one for one in whole.modules() if hasattr(one, DELTAS)]
        self._deltas: dict[Sequence, list[Any]] = {}

    def leave(self, sequence: Sequence) -> None:
        self._deltas.pop(sequence, None)

    def fork(self, sequence: Sequence) -> Sequence:
        twin = super().fork(sequence)
        self._deltas[twin] = list(self._deltas[sequence])
        return twin

    def _read(self, span: Span) -> Tensor:
        sequence = span.sequence
        known = self._deltas.get(sequence, [None] * len(self._remembering))
        for module, delta in zip(self._remembering, known, strict=True):
            setattr(module, DELTAS, delta)
        found = super()._read(span)
        self._deltas[sequence] = [getattr(module, DELTAS) for module in self._remembering]
        return found

    def _beside(self, span: Span) -> dict[str, Any]:
        begins = isinstance(span.sequence, PlainSequence) and span.sequence.length == 0
        return span.sequence.shown.whole() if begins and span.sequence.shown is not None else {}
