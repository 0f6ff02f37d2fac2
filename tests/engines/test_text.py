from __future__ import annotations

import random

import pytest
from tiny import byte_alphabet
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from vllm_flow.engines.stopping import StopScanner
from vllm_flow.engines.transformers.load import decoder
from vllm_flow.engines.transformers.text import TextStream
from vllm_flow.models.random_weights import build_tokenizer

TOKENIZER = build_tokenizer()
BYTE_IDS = {byte: TOKENIZER.convert_tokens_to_ids(char) for byte, char in byte_alphabet().items()}


def streamed(decode, ids: list[int], stops: tuple[str, ...] = ()) -> list[str]:
    stream = TextStream(decode, stops)
    deltas = []
    for one in ids:
        deltas.append(stream.push(one))
        if stream.stopped:
            return deltas
    return [*deltas, stream.flush()]


def whole(text: str, stops: tuple[str, ...]) -> str:
    scanner = StopScanner(stops)
    return scanner.push(text) + scanner.flush()


def test_bytes_of_characters_appear_when_the_character_is_complete():
    ids = [BYTE_IDS[byte] for byte in "a你🙂".encode()]
    assert streamed(decoder(TOKENIZER), ids) == ["a", "", "", "你", "", "", "", "🙂", ""]


def test_random_bytes_and_stop_strings_give_the_text_of_the_whole():
    rng = random.Random(1)
    decode = decoder(TOKENIZER)
    alphabet = [bytes([65]), bytes([66]), "é".encode(), "🙂".encode(), b"\xff", b"\xe4", b"\x80", b"\xf0\x9f"]
    for _ in range(1500):
        raw = b"".join(rng.choices(alphabet, k=rng.randint(0, 14)))
        ids = [BYTE_IDS[byte] for byte in raw]
        if rng.random() < 0.5:  # a control token in the middle leaves no trace
            ids.insert(rng.randint(0, len(ids)), TOKENIZER.convert_tokens_to_ids("<|im_start|>"))
        stops = tuple("".join(rng.choices("AB🙂é", k=rng.randint(1, 3))) for _ in range(rng.randint(0, 2)))
        assert "".join(streamed(decode, ids, stops)) == whole(decode(ids), stops), (raw, stops)


def test_incomplete_characters_come_out_at_the_end_as_replacement_characters():
    ids = [BYTE_IDS[65], *(BYTE_IDS[byte] for byte in "🙂".encode()[:2])]
    assert streamed(decoder(TOKENIZER), ids) == ["A", "", "", "\N{REPLACEMENT CHARACTER}"]


def test_ids_beyond_the_tokenizer_have_no_text():
    assert streamed(decoder(TOKENIZER), [BYTE_IDS[65], 5000, BYTE_IDS[66]]) == ["A", "", "B", ""]


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """Spaces are part of words, and the first one is dropped: as Llama 2's tokenizer does."""
    words = ["<s>", "</s>", "<unk>", "▁the", "▁cat", "s", "▁", "▁▁", "!"]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    vocab = {word: number for number, word in enumerate([*words, *bytes_])}
    tokens = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", byte_fallback=True))
    tokens.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokens, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.mark.parametrize("seed", range(5))
def test_spaces_survive_tokenizers_that_strip_the_first(seed):
    tokenizer = sentencepiece_like()
    decode = decoder(tokenizer)
    rng = random.Random(seed)
    for _ in range(200):
        words = rng.choices(["<s>", "▁the", "▁cat", "s", "▁", "▁▁", "!", "smile"], k=rng.randint(0, 10))
        ids = []
        for word in words:
            smile = [tokenizer.convert_tokens_to_ids(f"<0x{byte:02X}>") for byte in "🙂".encode()]
            ids += smile if word == "smile" else [tokenizer.convert_tokens_to_ids(word)]
        assert "".join(streamed(decode, ids)) == decode(ids), words


def test_text_is_shown_at_once_when_nothing_can_change_it():
    tokenizer = sentencepiece_like()
    ids = [tokenizer.convert_tokens_to_ids(word) for word in ("▁the", "▁cat", "s")]
    assert streamed(decoder(tokenizer), ids) == ["the", " cat", "s", ""]
