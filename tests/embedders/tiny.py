"""A sentence-embedding model with random weights, in a folder as the real ones are, made in a moment."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, BertTokenizerFast


def tiny_sentences(folder: Path) -> Path:
    """BERT of two layers, width 16, that reads 150 tokens at once; its tokenizer is saved to cut at 16."""
    pieces = [chr(one) for one in range(33, 127)] + [chr(one) for one in range(0x4E00, 0x9FFF, 7)]
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces, *(f"##{one}" for one in pieces[:94])]
    vocabulary = {name: place for place, name in enumerate(names)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # type: ignore[arg-type]
    made.normalizer = normalizers.BertNormalizer()  # type: ignore[assignment]
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()  # type: ignore[assignment]
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))  # type: ignore[assignment]
    made.enable_truncation(16)
    BertTokenizerFast(tokenizer_object=made, model_max_length=10_000).save_pretrained(folder)
    made.save(str(folder / "tokenizer.json"))
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(vocabulary), max_position_embeddings=200, initializer_range=0.5, **sizes)
    BertModel(config).save_pretrained(folder)
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 150}))
    return folder
