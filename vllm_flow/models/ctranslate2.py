"""Whisper models of CTranslate2: read without it, and kept as the folder that transformers writes, weight for weight.

The file is a list of named arrays, so it is read for what it is and nothing in it can run.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy

from vllm_flow.core.errors import ModelError
from vllm_flow.models.quiet import quiet

VERSION = 6
"""Of the file's form; from 5 on an array says its type and size."""
SPECIFICATION = "WhisperSpec"
TYPES = {0: numpy.float32, 4: numpy.float16}
"""Arrays of other types are quantised, and need a scale beside them."""
ENGLISH_VOCABULARY = 51864
"""Of a model that knows no other language; those that do have one token more, or two."""
START, END = "<|startoftranscript|>", "<|endoftext|>"
FIELDS = {"no_timestamps_token_id": "<|notimestamps|>", "prev_sot_token_id": "<|startofprev|>"}
NEEDED = ("model.bin", "config.json", "tokenizer.json")
Arrays = Mapping[str, numpy.ndarray[Any, Any]]


def convert(source: Path, folder: Path, where: str) -> None:
    """Write model, processor and generation settings of a Whisper in the folder `source` into `folder`, as float16.

    Raises ModelError, which begins with `where`, when a file is not what it should be.
    """
    from transformers import WhisperFeatureExtractor, WhisperProcessor

    try:
        settings = json.loads((source / "config.json").read_text("utf-8"))
        words = _words(source / "tokenizer.json")
        model = _model(read((source / "model.bin").read_bytes()), words)
        processor = WhisperProcessor(WhisperFeatureExtractor(feature_size=model.config.num_mel_bins), words)
        model.generation_config = _generation(settings, model.config, words)
        with quiet():
            model.save_pretrained(folder)
            processor.save_pretrained(folder)
    except (ValueError, KeyError, TypeError, struct.error, UnicodeDecodeError) as cause:
        what = f"{source.name} is no Whisper of CTranslate2: {type(cause).__name__}: {str(cause).rstrip('.')}"
        raise ModelError(f"{where}: {what}. Give a folder with {', '.join(NEEDED)}.") from cause


def read(content: bytes) -> dict[str, numpy.ndarray[Any, Any]]:
    """The arrays of a model.bin by name, as they are in it. Raises ValueError and struct.error."""
    place = 0

    def number(form: str) -> int:
        nonlocal place
        (found,) = struct.unpack_from(f"<{form}", content, place)
        place += struct.calcsize(form)
        return int(found)

    def text() -> str:
        nonlocal place
        size = number("H")
        place += size
        return content[place - size : place - 1].decode()

    version, kind, _revision = number("I"), text(), number("I")
    if version != VERSION or kind != SPECIFICATION:
        raise ValueError(
            f"the file is a {kind or 'model'} of version {version}, and not a {SPECIFICATION} of {VERSION}"
        )
    found: dict[str, numpy.ndarray[Any, Any]] = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        code, size = number("B"), number("I")
        if code not in TYPES:
            if math.prod(shape) > 1:
                raise ValueError(f"{name} is quantised, and only floating-point weights are read")
        else:
            found[name] = numpy.frombuffer(content, TYPES[code], math.prod(shape), place).reshape(shape)
        place += size
    for _ in range(number("I")):
        alias, name = text(), text()
        found[alias] = found[name]
    return found


def _model(arrays: Arrays, words: Any) -> Any:
    import torch
    from transformers import WhisperForConditionalGeneration

    config = _config(arrays, words)
    with torch.device("meta"):  # shapes only: every weight comes from the file
        model = WhisperForConditionalGeneration(config)
    weights = {name: torch.from_numpy(numpy.array(one)) for name, one in _weights(arrays, config)}
    model.load_state_dict(weights, strict=False, assign=True)
    model.tie_weights()
    missing = [name for name, weight in model.named_parameters() if weight.is_meta]
    if missing:
        raise ValueError(f"it lacks {missing[0]} and {len(missing) - 1} more of the model's weights")
    return model.to(torch.float16)


def _config(arrays: Arrays, words: Any) -> Any:
    from transformers import WhisperConfig

    vocabulary, width = arrays["decoder/embeddings/weight"].shape
    heads = arrays.get("encoder/num_heads")
    ids = {f"{name}_token_id": words.convert_tokens_to_ids(END) for name in ("bos", "eos", "pad")}
    return WhisperConfig(
        vocab_size=vocabulary,
        d_model=width,
        encoder_layers=_layers(arrays, "encoder"),
        decoder_layers=_layers(arrays, "decoder"),
        encoder_attention_heads=width // 64 if heads is None else int(heads.reshape(-1)[0]),
        decoder_attention_heads=width // 64 if heads is None else int(heads.reshape(-1)[0]),
        encoder_ffn_dim=arrays["encoder/layer_0/ffn/linear_0/weight"].shape[0],
        decoder_ffn_dim=arrays["decoder/layer_0/ffn/linear_0/weight"].shape[0],
        num_mel_bins=arrays["encoder/conv1/weight"].shape[1],
        max_source_positions=arrays["encoder/position_encodings/encodings"].shape[0],
        max_target_positions=arrays["decoder/position_encodings/encodings"].shape[0],
        decoder_start_token_id=words.convert_tokens_to_ids(START),
        **ids,
    )


def _layers(arrays: Arrays, side: str) -> int:
    return len({name.split("/")[1] for name in arrays if name.startswith(f"{side}/layer_") and "/ffn/" in name})


def _weights(arrays: Arrays, config: Any) -> Iterator[tuple[str, numpy.ndarray[Any, Any]]]:
    """By transformers' names. Projections that CTranslate2 keeps as one are taken apart again."""
    yield "proj_out.weight", arrays["decoder/embeddings/weight"]
    yield "model.decoder.embed_tokens.weight", arrays["decoder/embeddings/weight"]
    for conv in ("conv1", "conv2"):
        for name in ("weight", "bias"):
            yield f"model.encoder.{conv}.{name}", arrays[f"encoder/{conv}/{name}"]
    for side, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        yield f"model.{side}.embed_positions.weight", arrays[f"{side}/position_encodings/encodings"]
        yield from _norm(arrays, f"{side}/layer_norm", f"model.{side}.layer_norm")
        for layer in range(layers):
            here, there = f"{side}/layer_{layer}", f"model.{side}.layers.{layer}"
            yield from _attention(arrays, f"{here}/self_attention", f"{there}.self_attn")
            if side == "decoder":
                yield from _attention(arrays, f"{here}/attention", f"{there}.encoder_attn")
            yield from _norm(arrays, f"{here}/ffn/layer_norm", f"{there}.final_layer_norm")
            for number in (0, 1):
                for name in ("weight", "bias"):
                    yield f"{there}.fc{number + 1}.{name}", arrays[f"{here}/ffn/linear_{number}/{name}"]


def _norm(arrays: Arrays, here: str, there: str) -> Iterator[tuple[str, numpy.ndarray[Any, Any]]]:
    yield f"{there}.weight", arrays[f"{here}/gamma"]
    yield f"{there}.bias", arrays[f"{here}/beta"]


def _attention(arrays: Arrays, here: str, there: str) -> Iterator[tuple[str, numpy.ndarray[Any, Any]]]:
    """Of self-attention one matrix makes queries, keys and values; of cross-attention keys and values are the second.

    Keys have no bias in Whisper; where one was made of three there are zeros in its place.
    """
    yield from _norm(arrays, f"{here}/layer_norm", f"{there}_layer_norm")
    crossed = f"{here}/linear_2/weight" in arrays
    matrices = ("linear_0", "linear_1") if crossed else ("linear_0",)
    weight = numpy.concatenate([arrays[f"{here}/{one}/weight"] for one in matrices])
    bias = numpy.concatenate([arrays[f"{here}/{one}/bias"] for one in matrices])
    for name, rows, shift in zip("qkv", numpy.split(weight, 3), numpy.split(bias, 3), strict=True):
        yield f"{there}.{name}_proj.weight", rows
        if name != "k":
            yield f"{there}.{name}_proj.bias", shift
    last = "linear_2" if crossed else "linear_1"
    for name in ("weight", "bias"):
        yield f"{there}.out_proj.{name}", arrays[f"{here}/{last}/{name}"]


def _words(file: Path) -> Any:
    from transformers import WhisperTokenizerFast

    return WhisperTokenizerFast(
        tokenizer_file=str(file), **{f"{role}_token": END for role in ("unk", "bos", "eos", "pad")}
    )


def _generation(settings: Mapping[str, Any], config: Any, words: Any) -> Any:
    from transformers import GenerationConfig

    multilingual = config.vocab_size != ENGLISH_VOCABULARY
    ids = {name: getattr(config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    more: dict[str, Any] = {name: words.convert_tokens_to_ids(token) for name, token in FIELDS.items()}
    if multilingual:
        tokens = {words.convert_ids_to_tokens(one): one for one in settings["lang_ids"]}
        tasks = {name: words.convert_tokens_to_ids(f"<|{name}|>") for name in ("transcribe", "translate")}
        more |= {"lang_to_id": tokens, "task_to_id": tasks}
    return GenerationConfig(
        decoder_start_token_id=config.decoder_start_token_id,
        max_length=config.max_target_positions,
        suppress_tokens=[one for one in settings.get("suppress_ids", []) if one >= 0],
        begin_suppress_tokens=settings.get("suppress_ids_begin"),
        alignment_heads=settings.get("alignment_heads"),
        is_multilingual=multilingual,
        return_timestamps=False,
        **ids,
        **more,
    )
