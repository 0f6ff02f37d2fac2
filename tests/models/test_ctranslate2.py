"""Whisper models of CTranslate2: what is in them comes out, weight for weight, and what is none is said."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from tests.transcribers.tiny import LANGUAGES, sound, tiny_whisper
from vllm_flow.core.errors import ModelError
from vllm_flow.models.ctranslate2 import convert, read

CODES = {numpy.dtype("float32"): 0, numpy.dtype("int8"): 1, numpy.dtype("float16"): 4}


def text(said: str) -> bytes:
    return struct.pack("<H", len(said) + 1) + said.encode() + b"\0"


def model_bin(arrays: dict[str, Any], version: int = 6, kind: str = "WhisperSpec", alias: str = "") -> bytes:
    """As CTranslate2 writes it (version 6)."""
    parts = [struct.pack("<I", version), text(kind), struct.pack("<II", 3, len(arrays))]
    for name, one in arrays.items():
        parts += [text(name), struct.pack("<B", one.ndim), struct.pack(f"<{one.ndim}I", *one.shape)]
        parts += [struct.pack("<BI", CODES[one.dtype], one.nbytes), one.tobytes()]
    aliases = [text("decoder/projection/weight"), text(alias)] if alias else []
    return b"".join([*parts, struct.pack("<I", len(aliases) // 2), *aliases])


def as_ctranslate2(model: Any) -> dict[str, Any]:
    """Its weights by CTranslate2's names, float16, with the matrices that it keeps as one."""
    weights = {name.removeprefix("model."): one.half().numpy() for name, one in model.state_dict().items()}
    found: dict[str, Any] = {"encoder/num_heads": numpy.array([2], "float32")}

    def norm(here: str, there: str) -> None:
        found[f"{here}/gamma"], found[f"{here}/beta"] = weights[f"{there}.weight"], weights[f"{there}.bias"]

    def linear(here: str, *there: str) -> None:
        shifts = [weights.get(f"{one}.bias", numpy.zeros(32, "float16")) for one in there]
        found[f"{here}/weight"] = numpy.concatenate([weights[f"{one}.weight"] for one in there])
        found[f"{here}/bias"] = numpy.concatenate(shifts)

    for name in ("conv1", "conv2"):
        found[f"encoder/{name}/weight"] = weights[f"encoder.{name}.weight"]
        found[f"encoder/{name}/bias"] = weights[f"encoder.{name}.bias"]
    found["decoder/embeddings/weight"] = weights["decoder.embed_tokens.weight"]
    for side in ("encoder", "decoder"):
        found[f"{side}/position_encodings/encodings"] = weights[f"{side}.embed_positions.weight"]
        norm(f"{side}/layer_norm", f"{side}.layer_norm")
        for layer in range(2):
            here, there = f"{side}/layer_{layer}", f"{side}.layers.{layer}"
            own = [f"{there}.self_attn.{one}_proj" for one in "qkv"]
            norm(f"{here}/self_attention/layer_norm", f"{there}.self_attn_layer_norm")
            linear(f"{here}/self_attention/linear_0", *own)
            linear(f"{here}/self_attention/linear_1", f"{there}.self_attn.out_proj")
            if side == "decoder":
                norm(f"{here}/attention/layer_norm", f"{there}.encoder_attn_layer_norm")
                linear(f"{here}/attention/linear_0", f"{there}.encoder_attn.q_proj")
                linear(f"{here}/attention/linear_1", *(f"{there}.encoder_attn.{one}_proj" for one in "kv"))
                linear(f"{here}/attention/linear_2", f"{there}.encoder_attn.out_proj")
            norm(f"{here}/ffn/layer_norm", f"{there}.final_layer_norm")
            for number in (0, 1):
                linear(f"{here}/ffn/linear_{number}", f"{there}.fc{number + 1}")
                found[f"{here}/ffn/linear_{number}/bias"] = weights[f"{there}.fc{number + 1}.bias"]
    return found


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Path, Any]:
    """A folder as the package has it, of a model with random weights; and that model."""
    made = tiny_whisper(tmp_path / "made", LANGUAGES)
    model = WhisperForConditionalGeneration.from_pretrained(made, dtype=torch.float32)
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / "model.bin").write_bytes(model_bin(as_ctranslate2(model), alias="decoder/embeddings/weight"))
    (folder / "tokenizer.json").write_bytes((made / "tokenizer.json").read_bytes())
    settings = model.generation_config
    kept = {"suppress_ids": settings.suppress_tokens, "suppress_ids_begin": settings.begin_suppress_tokens}
    languages = {"lang_ids": list(settings.lang_to_id.values()), "alignment_heads": [[1, 0]]}
    (folder / "config.json").write_text(json.dumps({**kept, **languages}))
    return folder, model


def test_every_weight_comes_out_as_it_was(packed: tuple[Path, Any], tmp_path: Path) -> None:
    folder, model = packed
    convert(folder, tmp_path / "out", "here")
    found = WhisperForConditionalGeneration.from_pretrained(tmp_path / "out")
    assert found.dtype == torch.float16
    expected = model.state_dict()
    assert found.state_dict().keys() == expected.keys()
    for name, one in found.state_dict().items():
        assert torch.equal(one, expected[name].half()), name


def test_what_it_is_asked_is_known_again(packed: tuple[Path, Any], tmp_path: Path) -> None:
    folder, model = packed
    convert(folder, tmp_path / "out", "here")
    processor = WhisperProcessor.from_pretrained(tmp_path / "out")
    found = WhisperForConditionalGeneration.from_pretrained(tmp_path / "out").generation_config
    for name in ("suppress_tokens", "begin_suppress_tokens", "lang_to_id", "task_to_id", "no_timestamps_token_id"):
        assert getattr(found, name) == getattr(model.generation_config, name), name
    assert found.is_multilingual
    assert found.alignment_heads == [[1, 0]]
    assert processor.feature_extractor(sound(0.5), sampling_rate=16_000).input_features.shape[1] == 16


def test_a_model_that_is_quantised_or_lacks_a_weight_is_refused(packed: tuple[Path, Any], tmp_path: Path) -> None:
    folder, model = packed
    arrays = as_ctranslate2(model)

    def told(content: bytes) -> str:
        (folder / "model.bin").write_bytes(content)
        with pytest.raises(ModelError) as caught:
            convert(folder, tmp_path / "out", "transcriber.package: x")
        return str(caught.value)

    def problem(why: str) -> str:
        needed = "Give a folder with model.bin, config.json, tokenizer.json."
        return f"transcriber.package: x: packed is no Whisper of CTranslate2: {why}. {needed}"

    whole = model_bin(arrays)
    small = {**arrays, "encoder/conv1/weight": numpy.zeros((4, 4), "int8")}
    less = {name: one for name, one in arrays.items() if name != "encoder/conv1/weight"}
    assert told(model_bin(small)) == problem(
        "ValueError: encoder/conv1/weight is quantised, and only floating-point weights are read"
    )
    assert told(model_bin(less)) == problem("KeyError: 'encoder/conv1/weight'")
    assert told(model_bin(arrays, version=5)) == problem(
        "ValueError: the file is a WhisperSpec of version 5, and not a WhisperSpec of 6"
    )
    assert told(model_bin(arrays, kind="TransformerSpec")) == problem(
        "ValueError: the file is a TransformerSpec of version 6, and not a WhisperSpec of 6"
    )
    for size in (3, 40, len(whole) // 2, len(whole) - 1):
        assert "packed is no Whisper of CTranslate2" in told(whole[:size]), size


def test_other_names_of_an_array_are_that_array() -> None:
    found = read(model_bin({"a": numpy.ones((2, 2), "float16")}, alias="a"))
    assert found["decoder/projection/weight"] is found["a"]
