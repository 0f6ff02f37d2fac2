"""The network: a causal language model of transformers that reads tokens of many sequences in one call.

Any model runs here whose attention goes through transformers' attention interface and asks for nothing that
`attention.py` does not do; `fitted` tries it on the model itself. The others run in `plain.py`, one sequence at a time.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping
from collections.abc import Sequence as Many
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from vllm_flow.engines.transformers.attention import UNDERSTOOD, Chunk, Decode, Look
from vllm_flow.engines.transformers.compiled import Compiled
from vllm_flow.engines.transformers.kv import KVCache
from vllm_flow.engines.transformers.lean import Lean
from vllm_flow.engines.transformers.loaded import Span, Unfit, pieces
from vllm_flow.engines.transformers.senses.inlaid import Laid, inlaid, inlays
from vllm_flow.engines.transformers.slots import Plane, Sequence

CHUNK = 64
"""Prompts are read in pieces that end at multiples of this many tokens, so that equal beginnings are read alike."""
_numbers = itertools.count()


class Network:
    """Reads spans. `least` is how many tokens a call must have for its rounding not to depend on their number."""

    chunk: int | None = CHUNK

    def __init__(self, model: Any, least: int = 1) -> None:
        self.model = model
        self.least = least
        self._name = f"vllm_flow_{next(_numbers)}"
        self._parts: list[Chunk | Decode] = []
        self._seen: dict[int, tuple[Look, Plane, Plane]] = {}
        self.lean: Lean | None = None
        """A shorter way through the same layers, for models that have one."""
        self.compiled: Compiled | None = None
        """A still shorter one for a call that is nothing but one token of one sequence in slots."""
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        AttentionInterface.register(self._name, self._attend)
        AttentionMaskInterface.register(self._name, _no_mask)
        try:
            model.set_attn_implementation(self._name)
            self.kv = self._measured()
        except BaseException:
            self.close()
            raise

    @property
    def looks(self) -> list[Look]:
        """What each layer was seen to ask of its attention."""
        return [self._seen[layer][0] for layer in sorted(self._seen)]

    @property
    def bytes_per_token(self) -> int:
        """Of keys and values."""
        return self.kv.bytes_per_token

    @torch.inference_mode()
    def sequence(self, prompt_tokens: int) -> Sequence:
        return self.kv.sequence(prompt_tokens)

    @torch.inference_mode()
    def leave(self, sequence: Sequence) -> None:
        self.kv.leave(sequence)

    @torch.inference_mode()
    def read(self, spans: Many[Span]) -> Tensor:
        """The logits after each span, or after each token of one that wants `every`, [those, vocab].

        The spans are then in the cache. What has more than one token, or is not in slots yet, are pieces of a prompt.
        Raises whatever the model does, and then nothing counts as read.
        """
        ordered = self._in_order(spans)
        if (alone := self._alone(spans)) is not None:
            return alone
        ids: list[int] = []
        positions: list[int] = []
        ends: dict[Sequence, int] = {}
        for span in ordered:
            ids += span.tokens
            positions += _positions(span)
            ends[span.sequence] = len(ids) - 1
        self._parts = self._planned(ordered, ends)
        wanted: list[int] = []
        for span in spans:
            end = ends[span.sequence] + 1
            wanted += range(end - len(span.tokens) if span.every else end - 1, end)
        extra = max(0, self.least - len(ids))
        kept = wanted + [wanted[0]] * max(0, self.least - len(wanted))
        try:
            logits = self._call(ids + [ids[0]] * extra, positions + [0] * extra, kept, inlays(ordered))
        finally:
            self._parts = []  # they hold keys and values of sequences that may leave
        for span in spans:
            span.sequence.length += len(span.tokens)
        return logits[: len(wanted)]

    @torch.inference_mode()
    def begin_decoding(self, sequence: Sequence) -> None:
        """The prompt is read: from now on the sequence grows token by token."""
        self.kv.make_room(sequence)

    @torch.inference_mode()
    def fork(self, sequence: Sequence) -> Sequence:
        return self.kv.fork(sequence)

    def close(self) -> None:
        """Let transformers forget it, which would keep the model for as long as the process lives."""
        for interface in (AttentionInterface, AttentionMaskInterface):
            interface._global_mapping.pop(self._name, None)

    def _in_order(self, spans: Many[Span]) -> list[Span]:
        """Those in slots first, as they lie there, so that no row has to be gathered; then the pieces of prompts."""
        for span in spans:
            if span.sequence.slots is not None:
                self.kv.make_room(span.sequence)

        def place(span: Span) -> tuple[int, int, int]:
            slots = span.sequence.slots
            return (slots.length, slots.number, span.sequence.slot) if slots is not None else (0, 0, 0)

        slotted = sorted((span for span in spans if span.sequence.slots is not None), key=place)
        return slotted + [span for span in spans if span.sequence.slots is None]

    def _alone(self, spans: Many[Span]) -> Tensor | None:
        """What compiled code makes of a row that decodes alone; None for any other call."""
        span = spans[0]
        if self.compiled is None or span.sequence.slots is None or len(spans) > 1 or len(span.tokens) > 1:
            return None
        logits = self.compiled(span.tokens[0], span.sequence, span.sequence.slots)
        span.sequence.length += 1
        return logits

    def _planned(self, ordered: Many[Span], ends: Mapping[Sequence, int]) -> list[Chunk | Decode]:
        device = self.model.device
        parts: list[Chunk | Decode] = []
        for slots, group in itertools.groupby(ordered, key=lambda span: span.sequence.slots):
            some = list(group)
            if slots is not None:
                tokens = slice(ends[some[0].sequence], ends[some[-1].sequence] + 1)
                parts.append(Decode(tokens, slots, [span.sequence for span in some], device))
                continue
            for span in some:
                first, place = span.sequence.length, ends[span.sequence] + 1 - len(span.tokens)
                for start, end in pieces(first, first + len(span.tokens), CHUNK):
                    tokens = slice(place, place := place + end - start)
                    parts.append(Chunk(tokens, span.sequence, start, device))
        return parts

    def _call(self, ids: list[int], positions: list[int], kept: list[int], laid: Many[Laid] = ()) -> Tensor:
        device = self.model.device
        tokens, places, ends = (torch.tensor(numbers, device=device) for numbers in (ids, positions, kept))
        given: dict[str, Any] = {"input_ids": tokens[None], "position_ids": places[None]}
        if laid:
            given = inlaid(self.model.get_input_embeddings(), tokens, places, laid)
        if self.lean is not None:
            hidden = given["inputs_embeds"][0] if laid else None
            return self.lean(tokens, places, ends, self._attended, hidden)
        return self._through_transformers(given, ends)

    def _through_transformers(self, given: Mapping[str, Any], kept: Tensor) -> Tensor:
        some = {"logits_to_keep": kept} if self._keeps else {}
        logits: Tensor = self.model(**given, use_cache=False, **some).logits[0]
        return logits if self._keeps else logits[kept]

    def _attend(  # noqa: PLR0917  the order of its parameters is transformers'
        self,
        module: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        dropout: float = 0.0,
        sliding_window: int | None = None,
        softcap: float | None = None,
        **more: Any,
    ) -> tuple[Tensor, None]:
        """What transformers calls: query [1, heads, tokens, dim], key and value with their own number of heads."""
        strange = [
            name for name, given in more.items() if given is not None and given is not False and name not in UNDERSTOOD
        ]
        if strange or attention_mask is not None:
            raise Unfit(f"its attention asks for {', '.join(strange) or 'a mask of its own'}")
        layer = module.layer_idx
        look = Look(layer, sliding_window, query.shape[3] ** -0.5 if scaling is None else scaling, softcap)
        self._seen[layer] = (look, Plane(key.shape[1], key.shape[3]), Plane(value.shape[1], value.shape[3]))
        query, key, value = (one[0].transpose(0, 1) for one in (query, key, value))
        return self._attended(look, query, key, value)[None], None

    def _attended(self, look: Look, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query: [tokens, heads, dim] of all parts; key, value with their own heads. Returns [tokens, heads, dim].

        Tokens that only fill up a call belong to no part; theirs is 0.
        """
        if len(self._parts) == 1 and self._parts[0].tokens == slice(0, len(query)):
            return self._parts[0].attend(look, query, key, value)
        found = query.new_zeros(query.shape[0], query.shape[1], value.shape[2])
        for part in self._parts:
            at = part.tokens
            found[at] = part.attend(look, query[at], key[at], value[at])
        return found

    def _measured(self) -> KVCache:
        """The cache this model needs: a call without any sequence shows what each layer would keep."""
        with torch.inference_mode():
            self._call([0, 0], [0, 1], [1])
        if not self._seen:
            raise Unfit("its attention is its own")
        if sorted(self._seen) != list(range(len(self._seen))):
            raise Unfit("some of its layers have no attention")
        planes = [plane for layer in sorted(self._seen) for plane in self._seen[layer][1:]]
        return KVCache(planes, self.model.dtype, self.model.device)


def _positions(span: Span) -> Many[int]:
    start, stop = span.sequence.length, span.sequence.length + len(span.tokens)
    shown = span.sequence.shown
    return range(start, stop) if shown is None else shown.positions(start, stop)


def _no_mask(*_: Any, **__: Any) -> None:
    """In place of transformers' masks: what a token sees is decided where the cache is."""
