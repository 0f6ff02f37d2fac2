"""Loading: a Whisper with its feature extractor and its words, and what has to be known of its tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from vllm_flow.models.digest import digests
from vllm_flow.models.packed import pack
from vllm_flow.models.quiet import reading

if TYPE_CHECKING:
    from vllm_flow.transcribers.options import Whisper

NO_TIMESTAMPS = "<|notimestamps|>"


@dataclass(frozen=True)
class Loaded:
    """A Whisper, ready."""

    model: Any
    features: Any
    """Makes log-mel spectrograms of samples."""
    tokenizer: Any
    languages: Mapping[str, int]
    """Code of a language to its token; empty where the model knows one language only, which is English."""
    tasks: Mapping[str, int]
    facts: Mapping[str, Any]
    """What the record should know of it."""

    @property
    def rate_hz(self) -> int:
        return int(self.features.sampling_rate)

    @property
    def frames(self) -> int:
        """How many frames of a spectrogram the model hears at once."""
        return 2 * int(self.model.config.max_source_positions)

    @property
    def window_s(self) -> float:
        return self.frames * self.frame_s

    @property
    def frame_s(self) -> float:
        return float(self.features.hop_length / self.features.sampling_rate)


def load(options: Whisper) -> Loaded:
    """Raises ModelError."""
    place, where = options.place()
    from_hub = {} if isinstance(place, Path) else {"revision": options.revision}
    local = {"local_files_only": isinstance(place, Path), **from_hub}
    with reading(where, "Give a Whisper as `save_pretrained` writes it."):
        dtype = getattr(torch, options.dtype)
        model = WhisperForConditionalGeneration.from_pretrained(place, use_safetensors=True, dtype=dtype, **local)
        processor = WhisperProcessor.from_pretrained(place, **local)
        settings = model.generation_config
        if getattr(settings, "no_timestamps_token_id", None) is None:
            settings.no_timestamps_token_id = processor.tokenizer.convert_tokens_to_ids(NO_TIMESTAMPS)
        languages = _plain(getattr(settings, "lang_to_id", None) or {})
        tasks = getattr(settings, "task_to_id", None) or {}
    if options.dtype == "bfloat16":
        _attend_plainly(model.model.decoder)
    pack(model)
    name = Path(place).name if options.path is not None else options.hub or options.package
    facts = {"transcriber": "whisper", "model": name, "dtype": options.dtype, "languages": len(languages) or 1}
    facts |= digests(place) if isinstance(place, Path) else {"revision": options.revision or "main"}
    return Loaded(model.eval(), processor.feature_extractor, processor.tokenizer, languages, tasks, facts)


def _plain(languages: Mapping[str, int]) -> Mapping[str, int]:
    """`en` where the model's settings have `<|en|>`."""
    return MappingProxyType({name.strip("<|>"): number for name, number in languages.items()})


def _attend_plainly(decoder: Any) -> None:
    """On a CPU the fused kernel takes ten times as long for one query in bfloat16 as two products of matrices."""
    config = type(decoder.config).from_dict(decoder.config.to_dict())
    config._attn_implementation = "eager"
    decoder.config = config
    for layer in decoder.layers:
        layer.self_attn.config = layer.encoder_attn.config = config
