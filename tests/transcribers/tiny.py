"""A Whisper with random weights that hears 2 seconds at a time, in a folder as the real ones are, made in a moment."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy
import soundfile
import torch
from transformers import (
    GenerationConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizerFast,
)

from tests.tiny import byte_alphabet
from vllm_flow.core.media import Audio
from vllm_flow.media import audio_from

RATE_HZ = 16_000
WINDOW_S = 2.0
UNPRINTABLE = (*range(33), *range(127, 256))
"""Bytes that are no character of their own, so that a text does not depend on where it is cut."""
LANGUAGES = ("en", "de", "zh")
GAIN = 6.0
"""The usual initial weights leave logits nearly flat; with this gain what is written depends on what is heard."""


def tiny_whisper(folder: Path, languages: tuple[str, ...] = (), seed: int = 0) -> Path:
    """It knows English only, or these languages. Of its 357 or more tokens 101 are times."""
    words = [byte_alphabet()[byte] for byte in range(256)]
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{one}|>" for one in languages or ("en",))]
    special += ["<|translate|>", "<|transcribe|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    names = {name: place for place, name in enumerate([*words, *special])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(names), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    tokenizer = WhisperTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    features = WhisperFeatureExtractor(feature_size=16, chunk_length=int(WINDOW_S))
    model = _model(names, len(names) + 101, seed)
    ends = {name: getattr(model.config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    more: dict[str, Any] = {}
    if languages:
        more["lang_to_id"] = {f"<|{one}|>": names[f"<|{one}|>"] for one in languages}
        more["task_to_id"] = {one: names[f"<|{one}|>"] for one in ("transcribe", "translate")}
    model.generation_config = GenerationConfig(
        is_multilingual=bool(languages), return_timestamps=False, max_length=48, max_initial_timestamp_index=50,
        no_timestamps_token_id=names["<|notimestamps|>"], prev_sot_token_id=names["<|startofprev|>"],
        decoder_start_token_id=names["<|startoftranscript|>"], suppress_tokens=[names["<|startofprev|>"], *UNPRINTABLE],
        begin_suppress_tokens=[names["<|endoftext|>"]], **ends, **more,
    )  # fmt: skip
    model.save_pretrained(folder)
    WhisperProcessor(features, tokenizer).save_pretrained(folder)
    return folder


def _model(names: dict[str, int], size: int, seed: int) -> Any:
    ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), names["<|endoftext|>"])
    layers = {f"{side}_{what}": number for side in ("encoder", "decoder") for what, number in
              (("layers", 2), ("attention_heads", 2), ("ffn_dim", 64))}  # fmt: skip
    config = WhisperConfig(
        vocab_size=size, num_mel_bins=16, d_model=32, max_source_positions=100, max_target_positions=48,
        decoder_start_token_id=names["<|startoftranscript|>"], **layers, **ends,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "positions" not in name:
                weight.mul_(GAIN if "encoder" not in name else 2 * GAIN)
    return model.eval()


def sound(seconds: float, seed: int = 0) -> numpy.ndarray[Any, Any]:
    """Chords that change four times a second, float32; whole numbers of 16 bits."""
    random = numpy.random.default_rng(seed)
    times = numpy.arange(round(seconds * RATE_HZ)) / RATE_HZ
    chords = random.uniform(100, 6000, (int(seconds * 4) + 1, 3))[(times * 4).astype(int)]
    whole = numpy.rint(numpy.sin(2 * numpy.pi * chords * times[:, None]).mean(1) * 20_000)
    return (whole / 32768).astype("float32")


def recording(samples: numpy.ndarray[Any, Any], source: str = "talk.flac") -> Audio:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="FLAC", subtype="PCM_16")
    return audio_from(file.getvalue(), source)
