"""The reader: what one medium is to a model, by the model's own processor: tokens, and what its tower is to read.

Each medium is processed by itself, so that it is the same whatever else is in the prompt: it is processed once for all
prompts that have it, and the prefix cache may rely on it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vllm_flow.core.errors import EngineError, MediaError
from vllm_flow.core.media import Audio, Image, MediaKind, Medium
from vllm_flow.engines.recent import Recent
from vllm_flow.media import pixels, samples
from vllm_flow.models.senses import places

BYTES = 256 << 20
"""Of inputs that are kept for prompts to come."""
Owned = tuple[str, Medium]
"""A medium, and before it the tenant: no answer comes sooner for what another has shown."""
OF_TEXTS = ("input_ids", "attention_mask")
TYPES = ("mm_token_type_ids", "token_type_ids")
"""What says of each token of a prompt what it is of."""


@dataclass(frozen=True, eq=False)
class Spread:
    """What a medium is to the model."""

    ids: tuple[int, ...]
    """Its tokens, those around it that its processor writes among them."""
    filled: Tensor
    """int64: which of them the tower's embeddings take the place of."""
    inputs: Mapping[str, Any]
    """What the model is given of it, beside tokens."""


class Reader:
    """Of one model. From any thread."""

    def __init__(self, processor: Any, config: Mapping[str, Any]) -> None:
        """config: the model's, which says what it reads."""
        self._processor, self._filled = processor, places(config)
        self._types = next((name for name in TYPES if name in processor.model_input_names), None)
        self._door = threading.Lock()  # processors write to themselves as they go
        self._spread = Recent[Owned, Spread](lambda owned: self._spread_now(owned[1]), _bytes, BYTES, light)

    @property
    def kinds(self) -> frozenset[MediaKind]:
        return frozenset(self._filled)

    @property
    def marks(self) -> dict[int, MediaKind]:
        """The tokens that a template writes in the place of a medium."""
        return {self._processor.tokenizer.convert_tokens_to_ids(self.mark(kind)): kind for kind in self._filled}

    def mark(self, kind: MediaKind) -> str:
        """That token, as it is written."""
        return str(getattr(self._processor, f"{kind}_token"))

    def spread(self, medium: Medium, tenant: str | None = None) -> Spread:
        """Raises EngineError for what cannot be read. tenant: for whom it is remembered; for nobody nothing is."""
        return self._spread_now(medium) if tenant is None else self._spread((tenant, medium))

    def types(self, ids: Sequence[int]) -> dict[str, Tensor]:
        """What each token of a prompt is of, by the name that the model has for it; nothing where it asks for none."""
        if self._types is None:
            return {}
        with self._door:
            return {self._types: torch.tensor(self._processor.create_mm_token_type_ids([list(ids)]))}

    def together(self, media: Sequence[Medium], ids: Sequence[int]) -> dict[str, Any]:
        """What the model is given of all the media of a prompt with these tokens, beside them."""
        return {**self._inputs(media)[1], **self.types(ids)} if media else {}

    def _spread_now(self, medium: Medium) -> Spread:
        ids, inputs = self._inputs([medium])
        filled = torch.tensor([place for place, one in enumerate(ids) if one == self._filled[medium.kind]])
        return Spread(tuple(ids), filled, inputs)

    def _inputs(self, media: Sequence[Medium]) -> tuple[list[int], dict[str, Any]]:
        """Tokens and inputs. Raises EngineError."""
        text = "".join(self.mark(one.kind) for one in media)
        sounds = [one for one in media if isinstance(one, Audio)]
        given = self._decoded(media)
        try:
            with self._door:
                found = self._processor(text=[text], return_tensors="pt", add_special_tokens=False, **given)
        except Exception as cause:  # processors refuse in their own ways, such as a picture that is too narrow
            first = str(cause).strip().partition("\n")[0].rstrip(".")
            what = f"prompt: the model's processor refuses {', '.join(map(called, media))}: {first}"
            raise EngineError(f"{what}. Give another, or leave it out.") from cause
        inputs = {name: one for name, one in found.items() if name not in (*OF_TEXTS, *TYPES)}
        for sound, heard in zip(sounds, inputs.get("feature_attention_mask", ()), strict=False):
            self._check_heard(sound, int(heard.sum()))
        return found["input_ids"][0].tolist(), inputs

    def _decoded(self, media: Sequence[Medium]) -> dict[str, Any]:
        """As the processor takes them. Raises EngineError."""
        given: dict[str, Any] = {}
        try:
            if pictures := [pixels(one) for one in media if isinstance(one, Image)]:
                given["images"] = pictures
            if sounds := [one for one in media if isinstance(one, Audio)]:
                rate = int(self._processor._audio_processor.sampling_rate)
                given |= {"audio": [samples(one, rate) for one in sounds], "sampling_rate": rate}
        except MediaError as problem:
            raise EngineError(f"prompt: {problem}") from None
        return given

    def _check_heard(self, sound: Audio, frames: int) -> None:
        """Raises EngineError for a sound whose end the processor has left out, as it does without a word."""
        extractor = self._processor._audio_processor
        seconds = frames * extractor.hop_length / extractor.sampling_rate
        if sound.seconds - seconds > 2 * extractor.hop_length / extractor.sampling_rate:
            what = f"prompt: {called(sound)} lasts {sound.seconds:.1f} s, but this model hears {seconds:g} s at once"
            raise EngineError(f"{what}. Cut it in pieces, or put it in words with fuse/describe.")


def light(owned: Owned) -> Owned:
    """The same without what it looks or sounds like, which may be of megabytes."""
    return owned[0], replace(owned[1], data=None)


def called(medium: Medium) -> str:
    """For people: by its name, or by the first digits of its digest."""
    return medium.source or f"{medium.kind} {medium.digest[:8]}"


def _bytes(spread: Spread) -> int:
    return sum(one.nbytes for one in spread.inputs.values() if isinstance(one, Tensor))
