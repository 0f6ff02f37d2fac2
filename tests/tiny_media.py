"""Tiny models that see or hear, with random weights, made in well under a second each, and things to show them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
import transformers
from PIL import Image as Pillow
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from vllm_flow.core.media import Audio, Image
from vllm_flow.engines.transformers.senses.processors import without_video
from vllm_flow.media import audio_from, image_from
from vllm_flow.models.random_weights import build_tokenizer

GAIN = 8.0
"""The usual initial weights leave logits nearly flat; with this gain the answer depends on what is seen and heard."""
RATE = 16_000
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
}
EYE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
EAR = {"num_mel_bins": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 64, "d_model": 32}
QWEN_EYE = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32}
CELLS = tuple(f"<row_{row}_col_{column}>" for row in range(1, 4) for column in range(1, 4))
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] in MARKS %}{{ MARKS[c['type']] }}{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def qwen2_5_vl(folder: Path) -> None:
    tokenizer = _tokenizer("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    turns = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    eye = {**QWEN_EYE, "patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1]}
    config = transformers.Qwen2_5_VLConfig(
        text_config={**TEXT, **_ids(tokenizer), "rope_parameters": turns}, vision_config=eye, **_qwen_ids(tokenizer)
    )
    _save_qwen(folder, config, tokenizer, "Qwen2_5_VL", 14)


def qwen3_vl(folder: Path) -> None:
    tokenizer = _tokenizer("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    turns = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    eye = {**QWEN_EYE, "patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    config = transformers.Qwen3VLConfig(
        text_config={**TEXT, **_ids(tokenizer), "head_dim": 16, "rope_parameters": turns},
        vision_config=eye,
        **_qwen_ids(tokenizer),
    )
    _save_qwen(folder, config, tokenizer, "Qwen3VL", 16)


def llava(folder: Path) -> None:
    tokenizer = _tokenizer("<image>", extra_special_tokens={"image_token": "<image>"})
    eye = transformers.CLIPVisionConfig(**EYE, image_size=32, patch_size=8, projection_dim=32)
    seen = {"vision_feature_layer": -1, "vision_feature_select_strategy": "default", "image_seq_length": 16}
    config = transformers.LlavaConfig(
        vision_config=eye,
        text_config=transformers.LlamaConfig(**TEXT, **_ids(tokenizer)),
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        **seen,
    )
    pictures = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    how = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    marks = _template(image="<image>")
    processor = transformers.LlavaProcessor(image_processor=pictures, tokenizer=tokenizer, chat_template=marks, **how)
    _save(folder, lambda: transformers.LlavaForConditionalGeneration(config), processor)


def idefics3(folder: Path) -> None:
    tokenizer = _tokenizer("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>", *CELLS)
    pictures = Idefics3ImageProcessorPil(
        size={"longest_edge": 128}, max_image_size={"longest_edge": 64}, do_image_splitting=True
    )
    processor = transformers.Idefics3Processor(
        image_processor=pictures, tokenizer=tokenizer, image_seq_len=4, chat_template=_template(image="<image>")
    )
    config = transformers.Idefics3Config(**_of_cells(tokenizer))
    _save(folder, lambda: transformers.Idefics3ForConditionalGeneration(config), processor)


def smolvlm(folder: Path) -> None:
    marks = {"fake_image_token": "<fake_token_around_image>", "image_token": "<image>"}
    marks |= {"end_of_utterance_token": "<end_of_utterance>", "global_image_token": "<global-img>"}
    tokenizer = _tokenizer(*marks.values(), *CELLS, extra_special_tokens=marks)
    pictures = SmolVLMImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 64}, do_image_splitting=False
    )
    processor = without_video(transformers.SmolVLMProcessor)(
        image_processor=pictures,
        tokenizer=tokenizer,
        video_processor=None,
        image_seq_len=4,
        chat_template=_template(image="<image>"),
    )
    config = transformers.SmolVLMConfig(**_of_cells(tokenizer))
    _save(folder, lambda: transformers.SmolVLMForConditionalGeneration(config), processor)


def qwen2_audio(folder: Path) -> None:
    tokenizer = _tokenizer("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>")
    config = transformers.Qwen2AudioConfig(
        audio_config={"model_type": "qwen2_audio_encoder", **EAR, "max_source_positions": 100},
        text_config={"model_type": "qwen2", **TEXT, **_ids(tokenizer)},
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    two_seconds = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=2)
    processor = transformers.Qwen2AudioProcessor(
        feature_extractor=two_seconds,
        tokenizer=tokenizer,
        chat_template=_template(audio="<|audio_bos|><|AUDIO|><|audio_eos|>"),
    )
    _save(folder, lambda: transformers.Qwen2AudioForConditionalGeneration(config), processor)


def gemma3(folder: Path) -> None:
    """Its pictures are read in both directions, which the batch does not do."""
    marks = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = _tokenizer(*marks.values(), extra_special_tokens=marks)
    config = transformers.Gemma3Config(
        text_config={**TEXT, **_ids(tokenizer), "head_dim": 8, "sliding_window": 512},
        vision_config={**EYE, "image_size": 32, "patch_size": 8},
        mm_tokens_per_image=16,
        tie_word_embeddings=False,
        boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
    )
    pictures = transformers.Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
    processor = transformers.Gemma3Processor(
        image_processor=pictures,
        tokenizer=tokenizer,
        image_seq_length=16,
        chat_template=_template(image="<start_of_image>"),
    )
    _save(folder, lambda: transformers.Gemma3ForConditionalGeneration(config), processor)


SEEING: Mapping[str, Callable[[Path], None]] = {
    "qwen2_5_vl": qwen2_5_vl, "qwen3_vl": qwen3_vl, "llava": llava, "idefics3": idefics3, "smolvlm": smolvlm,
}  # fmt: skip
HEARING: Mapping[str, Callable[[Path], None]] = {"qwen2_audio": qwen2_audio}


def picture(number: int, width: int = 48, height: int = 40) -> Image:
    """A picture like no other: bars, and noise over them."""
    noise = np.random.default_rng(number).integers(0, 120, (height, width, 3))
    bars = (np.arange(width)[None, :, None] * (number + 1) * 9 + np.arange(3) * 60) % 136
    pixels = (noise + bars).astype(np.uint8)
    file = io.BytesIO()
    Pillow.fromarray(pixels).save(file, "PNG")
    return image_from(file.getvalue(), f"picture{number}.png")


def sound(number: int, seconds: float = 0.5) -> Audio:
    """A sound like no other: a tone that rises, and noise over it."""
    frames = int(seconds * RATE)
    time = np.arange(frames) / RATE
    noise = np.random.default_rng(number).normal(0, 0.1, frames)
    samples = (0.4 * np.sin(2 * np.pi * (200 + 130 * number + 300 * time) * time) + noise).clip(-1, 1)
    file = io.BytesIO()
    soundfile.write(file, samples.astype(np.float32), RATE, format="FLAC", subtype="PCM_16")
    return audio_from(file.getvalue(), f"sound{number}.flac")


def by_name(medium: Image | Audio) -> Image | Audio:
    """Of which no more is known than which one it is."""
    return replace(medium, data=None)


def _tokenizer(*marks: str, **named: Any) -> Any:
    tokenizer = build_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": [*marks]})
    for name, mark in named.get("extra_special_tokens", {}).items():
        tokenizer._set_model_specific_special_tokens({name: mark})
    return tokenizer


def _ids(tokenizer: Any) -> dict[str, int]:
    named = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {"vocab_size": len(tokenizer), **{name: getattr(tokenizer, name) for name in named}}


def _qwen_ids(tokenizer: Any) -> dict[str, Any]:
    marks = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
    marks |= {"vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>"}
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(mark) for name, mark in marks.items()}
    return {**ids, "tie_word_embeddings": False}


def _of_cells(tokenizer: Any) -> dict[str, Any]:
    return {
        "text_config": {"model_type": "llama", **TEXT, **_ids(tokenizer)},
        "vision_config": {**EYE, "image_size": 64, "patch_size": 16},
        "image_token_id": tokenizer.convert_tokens_to_ids("<image>"),
        "scale_factor": 2,
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
    }


def _template(**marks: str) -> str:
    return f"{{% set MARKS = {marks!r} %}}{TEMPLATE}"


def _save_qwen(folder: Path, config: Any, tokenizer: Any, family: str, patch: int) -> None:
    sizes = {"shortest_edge": (2 * patch) ** 2, "longest_edge": (6 * patch) ** 2}
    pictures = transformers.Qwen2VLImageProcessorPil(patch_size=patch, temporal_patch_size=2, merge_size=2, size=sizes)
    kind = without_video(getattr(transformers, f"{family}Processor"))
    marks = _template(image="<|vision_start|><|image_pad|><|vision_end|>")
    processor = kind(image_processor=pictures, tokenizer=tokenizer, chat_template=marks)
    _save(folder, lambda: getattr(transformers, f"{family}ForConditionalGeneration")(config), processor)


def _save(folder: Path, build: Callable[[], Any], processor: Any) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build().eval()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim > 1:  # some begin with zeros, and would let nothing of a picture through
                    weight.mul_(GAIN) if weight.any() else weight.normal_(std=0.02 * GAIN)
    ids = _ids(processor.tokenizer)
    ids.pop("vocab_size")
    model.generation_config.update(do_sample=False, **ids)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
