"""The network: a causal language model of transformers that reads tokens of many sequences in one call.

Any model runs here whose attention goes through transformers' attention interface and asks for nothing that
`attention.py` does not do; `fits` tries it on the model itself. The others run in `plain.py`, one sequence at a time.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Sequence as Many
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from vllm_flow.engines.transformers.attention import UNDERSTOOD, Chunk, Decode
from vllm_flow.engines.transformers.kv import KVCache, Plane, Sequence

CHUNK = 64
"""Prompts are read in pieces that end at multiples of this many tokens, so that equal beginnings are read alike."""
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens of one sequence that are to be read, after those that its cache holds."""

    sequence: Sequence
    tokens: Many[int]
    every: bool = False
    """Whether the logits after each of its tokens are wanted, and not only those after the last."""


class Network:
    """Reads spans. `least` is how many tokens a call must have for its rounding not to depend on their number."""

    chunk: int | None = CHUNK

    def __init__(self, model: Any, least: int = 1) -> None:
        self.model = model
        self.least = least
        self._name = f"vllm_flow_{next(_numbers)}"
        self._parts: list[Chunk | Decode] = []
        self._seen: dict[int, tuple[Plane, Plane]] = {}
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        AttentionInterface.register(self._name, self._attend)
        AttentionMaskInterface.register(self._name, _no_mask)
        model.set_attn_implementation(self._name)
        self.kv = self._measured()

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
        """The logits after each span, or after each token of one that wants `every`, float32 [those, vocab].

        The spans are then in the cache.

        What has more than one token, or is not in slots yet, is a piece of a prompt. Raises whatever the model does,
        and then nothing counts as read.
        """
        ids: list[int] = []
        positions: list[int] = []
        ends: list[int] = []
        wanted: list[int] = []
        for span in spans:
            ids += span.tokens
            positions += range(span.sequence.length, span.sequence.length + len(span.tokens))
            ends.append(len(ids) - 1)
            wanted += range(len(ids) - len(span.tokens), len(ids)) if span.every else ends[-1:]
        extra = max(0, self.least - len(ids))
        self._parts = self._planned(spans, ends)
        kept = wanted + [wanted[0]] * max(0, self.least - len(wanted))
        logits = self._call(ids + [ids[0]] * extra, positions + [0] * extra, kept)
        for span in spans:
            span.sequence.length += len(span.tokens)
        return logits[: len(wanted)]

    @torch.inference_mode()
    def begin_decoding(self, sequence: Sequence) -> None:
        """The prompt is read: from now on the sequence grows token by token."""
        self.kv.make_room(sequence)

    def close(self) -> None:
        for interface in (AttentionInterface, AttentionMaskInterface):
            interface._global_mapping.pop(self._name, None)

    def _planned(self, spans: Many[Span], ends: Many[int]) -> list[Chunk | Decode]:
        device = self.model.device
        parts: list[Chunk | Decode] = []
        decoding: dict[Sequence, int] = {}
        for span, end in zip(spans, ends, strict=True):
            if span.sequence.slots is None:
                parts.append(Chunk(slice(end + 1 - len(span.tokens), end + 1), span.sequence, device))
            else:
                self.kv.make_room(span.sequence)
                decoding[span.sequence] = end
        for slots in self.kv.classes if decoding else ():
            rows = [one for one in slots.sequences if one in decoding]
            if rows:
                parts.append(Decode(torch.tensor([decoding[one] for one in rows], device=device), slots, rows, device))
        return parts

    def _call(self, ids: list[int], positions: list[int], kept: list[int]) -> Tensor:
        device = self.model.device
        places = torch.tensor(kept, device=device)
        some = {"logits_to_keep": places} if self._keeps else {}
        logits: Tensor = self.model(
            input_ids=torch.tensor([ids], device=device),
            position_ids=torch.tensor([positions], device=device),
            use_cache=False,
            **some,
        ).logits[0]
        return (logits if self._keeps else logits[places]).float()

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
        self._seen[layer] = (Plane(key.shape[1], key.shape[3]), Plane(value.shape[1], value.shape[3]))
        found = query.new_zeros(query.shape[2], query.shape[1], value.shape[3])
        for part in self._parts:
            at = part.tokens
            found[at] = part.attend(
                layer, query[0, :, at], key[0, :, at], value[0, :, at], sliding_window, scaling=scaling, softcap=softcap
            )
        return found[None], None

    def _measured(self) -> KVCache:
        """The cache this model needs: a call without any sequence shows what each layer would keep."""
        with torch.inference_mode():
            self._call([0, 0], [0, 1], [1])
        if not self._seen:
            raise Unfit("its attention is its own")
        if sorted(self._seen) != list(range(len(self._seen))):
            raise Unfit("some of its layers have no attention")
        planes = [plane for layer in sorted(self._seen) for plane in self._seen[layer]]
        return KVCache(planes, self.model.dtype, self.model.device)


class Unfit(Exception):
    """The model needs what this network does not do; the reason."""


def _is_off(given: Any) -> bool:
    return given is None or given is False


def _no_mask(*_: Any, **__: Any) -> None:
    """In place of transformers' masks: what a token sees is decided where the cache is."""
