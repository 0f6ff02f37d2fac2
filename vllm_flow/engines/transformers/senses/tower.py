"""The tower: what a model's own eyes and ears make of a medium, in the place of which tokens.

No model is asked how it puts these together: its own forward pass is begun with the one medium, and stopped where it
would go on to its language model, which has then been given all there is to know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vllm_flow.core.media import Medium
from vllm_flow.engines.recent import Recent
from vllm_flow.engines.transformers.loaded import Unfit
from vllm_flow.engines.transformers.senses.decoder import Decoder
from vllm_flow.engines.transformers.senses.reader import Owned, Reader, light

BYTES = 256 << 20
"""Of embeddings that are kept for prompts to come."""
DEEP = "deepstack_visual_embeds"
"""What some models add to what their first layers make (Meng et al. 2024, arXiv:2406.04334)."""
UNDERSTOOD = frozenset(
    {"inputs_embeds", "position_ids", "attention_mask", DEEP, "visual_pos_masks", "use_cache", "return_dict"}
)
"""What a language model may be given; with anything else it does more than the batch does."""


@dataclass(frozen=True, eq=False)
class Embedded:
    """A medium as the language model reads it."""

    rows: Tensor
    """[filled places, hidden size]."""
    deep: tuple[Tensor, ...] = ()
    """What is added behind the first, second, … layer, [filled places, hidden size] each."""

    @property
    def bytes(self) -> int:
        return sum(one.nbytes for one in (self.rows, *self.deep))


class Tower:
    """Of one model. In the engine's thread alone."""

    def __init__(self, decoder: Decoder, reader: Reader) -> None:
        self._decoder, self._reader = decoder, reader
        self._embedded = Recent[Owned, Embedded](self._embedded_now, lambda found: found.bytes, BYTES, light)
        places = (one.get_rope_index for one in decoder.whole.modules() if hasattr(one, "get_rope_index"))
        self._index: Any = next(places, None)

    def embedded(self, owned: Owned) -> Embedded:
        return self._embedded(owned)

    def positions(self, ids: Sequence[int], media: Sequence[Owned]) -> Tensor | None:
        """Where each token of a prompt stands, int64 [axes, tokens]; None where they are numbered one by one."""
        if self._index is None or not media:
            return None
        spreads = [self._reader.spread(medium, tenant).inputs for tenant, medium in media]
        names = dict.fromkeys(name for inputs in spreads for name in inputs if name.endswith("_thw"))
        grids = {name: torch.cat([one[name] for one in spreads if name in one]) for name in names}
        given = {"input_ids": torch.tensor([list(ids)]), **self._reader.types(ids), **grids}
        given = {name: one.to(self._decoder.device) for name, one in given.items()}
        found: Tensor = self._index(**given)[0]
        return found[:, 0]

    def together(self, ids: Sequence[int], media: Sequence[Medium]) -> dict[str, Any]:
        """What the whole model is given for a prompt, beside its tokens."""
        return on_device(self._reader.together(media, ids), self._decoder.whole)

    @torch.inference_mode()
    def given(self, ids: Sequence[int], inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What the language model is given for a prompt. Raises Unfit when that is more than the batch understands."""
        caught: list[dict[str, Any]] = []
        with _stopped(self._decoder.model, caught):
            self.forward(ids, inputs)
        if not caught:
            raise Unfit("its language model is not called as a whole")
        found = {name: one for name, one in caught[0].items() if one is not None and one is not False}
        strange = sorted(found.keys() - UNDERSTOOD)
        mask = found.get("attention_mask")
        if mask is not None and not (isinstance(mask, Tensor) and mask.ndim == 2):
            strange.append("a mask of its own")
        if strange:
            raise Unfit(f"its language model is given {', '.join(strange)}")
        return found

    @torch.inference_mode()
    def forward(self, ids: Sequence[int], inputs: Mapping[str, Any]) -> Any:
        """The whole model's own forward pass over one prompt."""
        whole = self._decoder.whole
        tokens = torch.tensor([list(ids)], device=whole.device)
        given = on_device(inputs, whole)
        return whole(input_ids=tokens, attention_mask=torch.ones_like(tokens), use_cache=False, **given)

    def _embedded_now(self, owned: Owned) -> Embedded:
        tenant, medium = owned
        spread = self._reader.spread(medium, tenant)
        found = self.given(spread.ids, {**spread.inputs, **self._reader.types(spread.ids)})
        rows = found["inputs_embeds"][0, spread.filled.to(self._decoder.device)]
        return Embedded(rows.clone(), tuple(one.to(rows) for one in found.get(DEEP) or ()))


def on_device(inputs: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """The inputs where the model is, those that are no whole numbers in the numbers that it computes in."""

    def moved(one: Any) -> Any:
        if not isinstance(one, Tensor):
            return one
        return one.to(model.device, model.dtype) if one.is_floating_point() else one.to(model.device)

    return {name: moved(one) for name, one in inputs.items()}


class _Reached(Exception):
    """The language model is about to be called."""


@contextmanager
def _stopped(model: Any, caught: list[dict[str, Any]]) -> Iterator[None]:
    """Meanwhile nothing gets further than this model: what it is given is caught instead."""

    def stop(_: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        caught.append(given if not args else {**given, "something without a name": args})
        raise _Reached

    hook = model.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        yield
    except _Reached:
        pass
    finally:
        hook.remove()
