"""Random JSON Schemas of the subset that answers are held to, and a tiny model whose tokens are pieces of words.

With random weights, a model has no idea of JSON: whatever it is allowed, it writes sooner or later.
"""

from __future__ import annotations

import string
from pathlib import Path
from random import Random
from typing import Any

from tests import tiny
from vllm_flow.core.schema_words import FORMATS

PATTERNS = (
    "^[A-Z]{2}-[0-9]{1,4}$",
    "^(red|green|blue)( light)?$",
    "b",
    "^[a-f0-9]{4,8}$",
    "[0-9]$",
    "^[^a-y]{1,9}$",
    "^é?x+$",
)
VALUES = (
    "a",
    "",
    'quo"ted',
    "back\\slash",
    "line\nend",
    "é 🙂",
    0,
    -3,
    2.5,
    10**12,
    True,
    False,
    None,
    [1, "b"],
    {"k": [None]},
)
NAMES = ("name", "age", "x", "a b", "ключ", 'od"d', "$ref", "items", "1")


def random_schema(random: Random, depth: int = 3, recursive: bool = True) -> dict[str, Any]:
    """One that is valid, has a value, and whose values a model mostly brings to an end."""
    if depth == 3 and recursive and random.random() < 0.1:
        return _recursive(random)
    simple = [_string, _integer, _number, _values, _kinds]
    inner = [_object, _object, _array, _tuple, _either]
    schema = random.choice(simple if depth == 0 else inner if depth == 3 else simple + inner)(random, depth)
    return schema | {"title": "a title", "description": "of it"} if random.random() < 0.2 else schema


def _object(random: Random, depth: int) -> dict[str, Any]:
    names = random.sample(NAMES, random.randint(1, 4))
    found: dict[str, Any] = {"type": "object", "properties": {one: random_schema(random, depth - 1) for one in names}}
    if random.random() < 0.8:
        found["required"] = [one for one in names if random.random() < 0.7]
    if random.random() < 0.5:
        found["additionalProperties"] = False
    return found


def _array(random: Random, depth: int) -> dict[str, Any]:
    low = random.randint(0, 2)
    limits = {"minItems": low} if random.random() < 0.5 else {}
    return {
        "type": "array",
        "items": random_schema(random, depth - 1),
        "maxItems": low + random.randint(0, 2),
        **limits,
    }


def _tuple(random: Random, depth: int) -> dict[str, Any]:
    first = [random_schema(random, depth - 1) for _ in range(random.randint(1, 3))]
    rest = random.choice([{}, {"items": False}, {"items": random_schema(random, 0), "maxItems": len(first) + 1}])
    return {
        "type": "array",
        "prefixItems": first,
        **rest,
        **random.choice([{}, {"minItems": random.randint(0, len(first))}]),
    }


def _either(random: Random, depth: int) -> dict[str, Any]:
    return {"anyOf": [random_schema(random, depth - 1) for _ in range(random.randint(1, 3))]}


def _string(random: Random, _: int) -> dict[str, Any]:
    """With a longest length always: weights that know nothing end a text once in a thousand tokens."""
    kind = random.randrange(5)
    if kind == 0:
        return {"type": "string", "pattern": random.choice(PATTERNS), "maxLength": 12}
    if kind == 1:
        return {"type": "string", "format": random.choice(FORMATS), "maxLength": 40}
    low = random.randint(0, 6)
    return {"type": "string", "maxLength": low + random.randint(0, 9), **random.choice([{}, {"minLength": low}])}


def _integer(random: Random, _: int) -> dict[str, Any]:
    low = random.choice([-1000, -7, 0, 3, 10**6, 2**53 - 200])
    high = low + random.choice([0, 1, 9, 120])
    bounds = [{}, {"minimum": low}, {"maximum": high}, {"minimum": low, "maximum": high}]
    bounds += [{"exclusiveMinimum": low - 1, "exclusiveMaximum": high + 1}, {"multipleOf": random.choice([2, 7, 10])}]
    return {"type": "integer", **random.choice(bounds)}


def _number(random: Random, _: int) -> dict[str, Any]:
    low = random.choice([-1.5, 0, 0.25, 100, -0.000001])
    bounds = [{}, {"minimum": low}, {"exclusiveMinimum": low}, {"maximum": low}, {"exclusiveMaximum": low}]
    bounds += [{"minimum": low, "maximum": low + 0.5}, {"exclusiveMinimum": low, "exclusiveMaximum": low + 0.001}]
    return {"type": "number", **random.choice(bounds)}


def _values(random: Random, _: int) -> dict[str, Any]:
    if random.random() < 0.3:
        return {"const": random.choice(VALUES)}
    if random.random() < 0.3:
        return {"enum": ["".join(random.choices(string.ascii_letters, k=3)) for _ in range(3)], "type": "string"}
    return {"enum": random.sample(VALUES, random.randint(1, 5))}


def _kinds(random: Random, _: int) -> dict[str, Any]:
    if random.random() < 0.5:
        return {"type": random.choice(["boolean", "null"])}
    limits = {"maxLength": 5, "minimum": -3}
    return {"type": ["string", random.choice(["integer", "number"]), *random.sample(["boolean", "null"], 1)], **limits}


def _recursive(random: Random) -> dict[str, Any]:
    """A list of things, each with the next of them in it."""
    link = {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}
    node = {"type": "object", "properties": {"value": random_schema(random, 1), "next": link}, "required": ["next"]}
    return {
        "$defs": {"node": node},
        "type": "object",
        "properties": {"head": {"$ref": "#/$defs/node"}},
        "required": ["head"],
    }


def wordy_tokenizer(size: int = 2000) -> Any:
    """Byte-level BPE as most models have it: tokens are pieces of words, and of JSON across its borders."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from vllm_flow.models.random_weights import CHATML, CONTROL, NAMED

    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokens.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(CONTROL), initial_alphabet=alphabet, show_progress=False
    )
    tokens.train_from_iterator([*_texts()], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokens, **NAMED, chat_template=CHATML)


def sentence_tokenizer(size: int = 1500) -> Any:
    """As SentencePiece makes them: spaces are part of words, and what has no token comes in bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokens = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokens.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    spoken = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokens.decoder = decoders.Sequence(spoken)
    special = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)]]
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False)
    tokens.train_from_iterator([text.replace(" ", "▁") for text in _texts()], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokens, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def _texts() -> list[str]:
    source = [file.read_text(encoding="utf-8") for file in sorted(Path(__file__).parent.glob("*.py"))]
    return [*source, *['{"name": "Tom", "tags": ["a", "b"], "n": [1, 2.5], "ok": true}\n{"x":{"y":[]},"z":"é"}'] * 50]


def wordy_model(folder: Path) -> Path:
    """Random weights in a folder as transformers writes one."""
    import torch
    import transformers

    tokenizer = wordy_tokenizer()
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    shape = {**tiny.SHAPE, "max_position_embeddings": 4096}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=len(tokenizer), **shape, **ids))
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
