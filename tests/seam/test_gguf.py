"""The seam of models in GGUF files, whose vocabulary cannot be changed."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import gguf
import pytest

from tests.seam.families import ADDED, BOS, CHATML, CONTROL, EOS, PHI4, QWEN3, SAYINGS, SPECIAL, UNK, WORDS
from tests.seam.hostile import hostile
from tests.tiny import byte_alphabet
from vllm_flow.core.messages import Message, Text, assistant, user
from vllm_flow.core.values import Prompt

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None,
    reason="llama-cpp-python is not installed: the extra llama-cpp has it",
)
TEMPLATES = {"ChatML": CHATML, "Phi 4": PHI4, "Qwen 3": QWEN3, "": None}
ORDER = [UNK, BOS, EOS, *SPECIAL, *ADDED]
NORMAL, UNKNOWN, CONTROLS, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
"""Kinds of tokens as the format has them."""


def written(file: Path, kind: str, template: str | None) -> Path:
    """A vocabulary and nothing else. kind: gpt2, byte-level; or llama, SentencePiece, which holds `</s>` by pieces."""
    writer = gguf.GGUFWriter(str(file), "llama")
    tokens = [(UNK, UNKNOWN, 0.0), (BOS, CONTROLS, 0.0), (EOS, CONTROLS, 0.0)]
    tokens += [(one, CONTROLS, 0.0) for one in SPECIAL] + [(one, USER_DEFINED, 0.0) for one in (*ADDED, *WORDS)]
    if kind == "gpt2":
        tokens += [(one, NORMAL, 0.0) for one in byte_alphabet().values()]
        writer.add_token_merges(["a n", "t h"])
        tokens += [("an", NORMAL, 0.0), ("th", NORMAL, 0.0)]
    else:
        tokens += [(f"<0x{byte:02X}>", BYTE, 0.0) for byte in range(256)]
        tokens += [(chr(one), NORMAL, -9.0) for one in range(33, 127)] + [("▁", NORMAL, -9.0)]
        tokens += [
            (one, NORMAL, -1.0 * place) for place, one in enumerate(["</", "s>", "/s>", "<s", "▁th", "an"], start=1)
        ]
    writer.add_tokenizer_model(kind)
    if kind == "gpt2":
        writer.add_tokenizer_pre("default")
    writer.add_token_list([one for one, _, _ in tokens])
    writer.add_token_types([one for _, one, _ in tokens])
    writer.add_token_scores([one for _, _, one in tokens])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    if template:
        writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return file


@pytest.fixture(params=["gpt2", "llama"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=TEMPLATES)
def read(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> Any:
    from llama_cpp import Llama

    from vllm_flow.engines.llama_cpp.render import GgufRenderer

    file = written(tmp_path / "words.gguf", kind, TEMPLATES[request.param])
    return GgufRenderer(Llama(str(file), vocab_only=True, verbose=False))


def control(read: Any, ids: list[int]) -> list[str]:
    return [ORDER[one] for one in ids if one < len(ORDER)]


def conversation(random: Random, names: list[str]) -> Prompt:
    said = [hostile(random, names) if names else random.choice(SAYINGS) for _ in range(4)]
    first, second = random.choice(said), random.choice(said)
    question = Message("user", (Text(said[0]), Text(said[1])))
    return Prompt((question, assistant(first), user(second)) if random.random() < 0.5 else (question,))


def harmless(prompt: Prompt) -> Prompt:
    return Prompt(tuple(Message(one.role, (Text("snow"),)) for one in prompt.messages))


def test_no_text_becomes_a_control_token(read: Any, kind: str) -> None:
    random = Random(9)
    for _ in range(100):
        prompt = conversation(random, CONTROL)
        ids = read.ids(prompt)
        assert control(read, ids) == control(read, read.ids(harmless(prompt)))
        found = read.measure(prompt)
        assert found.tokens == len(ids) == found.template + sum(map(sum, found.parts))
        if kind == "gpt2" and "\x00" not in read.text(prompt):
            said = read._model.detokenize(ids, special=True).decode("utf-8", "replace")
            assert said.removeprefix(BOS) == read.text(prompt)
        assert not control(read, read.text_ids(prompt.messages[0].text))
        assert control(read, read.encode(prompt.messages[0].text)) == [BOS]
        assert control(read, read.ids(replace(prompt, plain=True, as_text=True))) == [BOS]


def test_what_is_benign_is_read_as_the_file_reads_it_whole(read: Any) -> None:
    random = Random(10)
    for _ in range(50):
        prompt = conversation(random, [])
        text = read.text(prompt).encode()
        has = read.template == "chat"
        assert read.ids(prompt) == list(read._model.tokenize(text, add_bos=not has, special=has))
