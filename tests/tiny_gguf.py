"""A .gguf file with a tiny Llama in it, written as llama.cpp's converter would, in a few milliseconds."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy

from tests.tiny import byte_alphabet

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
HIDDEN, WIDE, HEADS = 32, 64, 4


def write(path: Path, without: str = "") -> dict[str, numpy.ndarray]:
    """Write the file, leaving out the tensor `without`; return the weights by their GGUF names."""
    writer = gguf.GGUFWriter(str(path), "llama")
    tokens = [*CONTROL, *byte_alphabet().values(), "ab"]
    writer.add_name("tiny")
    writer.add_context_length(128)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HIDDEN // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(CONTROL) + [1] * (len(tokens) - len(CONTROL)))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    weights = _weights(len(tokens))
    for name, weight in weights.items():
        if name != without:
            writer.add_tensor(name, weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


def _weights(vocab: int) -> dict[str, numpy.ndarray]:
    rng = numpy.random.default_rng(0)
    shapes = {"token_embd.weight": (vocab, HIDDEN), "output_norm.weight": (HIDDEN,)}
    for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
        shapes[f"blk.0.{name}.weight"] = (HIDDEN, HIDDEN)
    shapes |= {"blk.0.ffn_gate.weight": (WIDE, HIDDEN), "blk.0.ffn_up.weight": (WIDE, HIDDEN)}
    shapes |= {"blk.0.ffn_down.weight": (HIDDEN, WIDE)}
    shapes |= {"blk.0.attn_norm.weight": (HIDDEN,), "blk.0.ffn_norm.weight": (HIDDEN,)}
    return {name: rng.normal(size=shape).astype(numpy.float32) for name, shape in shapes.items()}
