"""Whose each token of a prompt is: for templates that trim, move and leave out, and for tokenizers of several kinds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from vllm_flow.core.ledger import Measured
from vllm_flow.core.measuring import ledger_of
from vllm_flow.core.messages import Message, Text, assistant, system, user
from vllm_flow.core.values import Prompt
from vllm_flow.engines.attribution import by_lengths, by_pieces, spans
from vllm_flow.engines.transformers.render import Renderer
from vllm_flow.engines.transformers.words import Words

CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are somebody.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
    "{% set said = messages[1:] %}{% else %}{% set first = '' %}{% set said = messages %}{% endif %}"
    "{% for message in said %}<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}\n"
    "{{ (first if loop.first else '') + (message.content | trim) }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    "{% if messages[0].role == 'system' %}{% set first = messages[0].content %}{% set said = messages[1:] %}"
    "{% else %}{% set first = '' %}{% set said = messages %}{% endif %}{{ bos_token }}"
    "{% for message in said %}{% if message.role == 'user' %}[INST] "
    "{{ (first + '\n\n' if loop.last and first else '') + message.content }} [/INST]"
    "{% else %} {{ message.content | trim }}{{ eos_token }}{% endif %}{% endfor %}"
)
THINKING = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% if message.role == 'assistant' %}"
    "{{ message.content.split('</think>')[-1].lstrip() }}{% else %}{{ message.content }}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES = {"ChatML": CHATML, "Llama 3": LLAMA, "Gemma": GEMMA, "Mistral": MISTRAL, "no thoughts": THINKING}
SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
           "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]"]  # fmt: skip
WORDS = [
    "the",
    "user",
    "said",
    "that",
    "snow",
    "falls",
    "on",
    "the",
    "assistant",
    "system",
    "of",
    "你好",
    "🙂",
    "and",
    "model",
    "naïve",
    "</think>",
    "<|im_end|>\n",
]


def byte_level() -> Tokenizer:
    found = Tokenizer(models.BPE())
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    return found


def metaspace() -> Tokenizer:
    found = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    found.pre_tokenizer = pre_tokenizers.Metaspace()
    found.decoder = decoders.Metaspace()
    return found


def renderer(kind: str, template: str | None) -> Renderer:
    tokenizer = {"bytes": byte_level, "metaspace": metaspace}[kind]()
    special = [*SPECIAL, "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet() if kind == "bytes" else []
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([" ".join(WORDS) * 3, "What is known: facts and summary of the snow."], trainer)
    found = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=special,
    )
    found.chat_template = template
    return Renderer(found)


@pytest.fixture(scope="module", params=["bytes", "metaspace"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def said(random: Random, most: int = 9) -> str:
    return " ".join(random.choices(WORDS, k=random.randint(1, most)))


def conversation(random: Random) -> Prompt:
    """Parts that begin and end with spaces, some that are nothing else, and words that templates write themselves."""

    def message(role: Any) -> Message:
        blank = random.choice(["", " ", "\n\n"])
        parts = (
            Text(blank + said(random)),
            *(Text(random.choice([said(random), "\n", "", " x"])) for _ in range(random.randint(0, 3))),
        )
        return Message(role, parts)

    first = [message("system")] if random.random() < 0.5 else []
    turns = [one for _ in range(random.randint(0, 3)) for one in (message("user"), message("assistant"))]
    return Prompt((*first, *turns, message("user")))


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_sum_is_the_prompt_whatever_is_said(name: str, kind: str) -> None:
    read, random = renderer(kind, TEMPLATES[name]), Random(7)
    for _ in range(40):
        prompt = conversation(random)
        found = read.measure(prompt)
        assert found.tokens == len(read.ids(prompt)) == found.template + sum(map(sum, found.parts))
        assert [len(one) for one in found.parts] == [len(one.parts) for one in prompt.messages]
        assert found.template > 0
        assert min(min(one) for one in found.parts) >= 0


@pytest.mark.parametrize("name", TEMPLATES)
def test_each_part_takes_what_it_takes_alone(name: str, kind: str) -> None:
    """The words are put between control tokens, so that none of them melts into what is beside it."""
    read, tokenizer = renderer(kind, TEMPLATES[name]), renderer(kind, None)
    prompt = Prompt((system("user said"), user("snow falls"), assistant("the model"), user("on the user")))
    found = read.measure(prompt)
    for message, (tokens,) in zip(prompt.messages, found.parts, strict=True):
        alone = len(tokenizer.text_ids(message.text))
        assert abs(tokens - alone) <= 1, (message.text, tokens, alone)  # a space before it may be a token of its own
    texts = read.text(prompt)
    assert found.template >= sum(texts.count(one) for one in SPECIAL)


def measured(name: str, *messages: Message, kind: str = "bytes") -> Measured:
    return renderer(kind, TEMPLATES[name]).measure(Prompt(messages))


def test_what_a_template_adds_of_its_own_is_the_templates() -> None:
    silent = measured("ChatML", user("snow"))
    told = measured("ChatML", system("You are somebody."), user("snow"))
    assert silent.tokens == told.tokens
    assert silent.template == told.template + told.parts[0][0]


def test_what_a_template_leaves_out_takes_nothing() -> None:
    thought = "the user said that snow falls</think>"
    with_it = measured("no thoughts", user("snow"), assistant(thought + "falls"), user("on"))
    without = measured("no thoughts", user("snow"), assistant("falls"), user("on"))
    assert with_it == without
    apart = Prompt((user("snow"), Message("assistant", (Text(thought), Text("falls"))), user("on")))
    assert renderer("bytes", THINKING).measure(apart).parts[1] == (0, without.parts[1][0])


def test_a_part_that_says_what_the_template_says_is_found_at_its_own_place() -> None:
    spelled = "<|im_end|>\n<|im_start|>user\n"
    found = measured("ChatML", user("on" + spelled + "on"), assistant("user\n"), user("user"))
    alone = renderer("bytes", None).text_ids
    counts = [tokens for (tokens,) in found.parts]
    assert counts == [2 * len(alone("on")) + len(alone(spelled)), len(alone("user\n")), len(alone("user"))]
    assert found.tokens == found.template + sum(counts)


def test_a_template_that_says_something_else_around_marks_keeps_all_for_itself() -> None:
    wilful = "{% for m in messages %}{{ 'A' if 'snow' in m.content else 'B' }}{{ m.content }}{% endfor %}"
    read = renderer("bytes", wilful)
    found = read.measure(Prompt((user("snow"),)))
    assert found == Measured(len(read.ids(Prompt((user("snow"),)))), ((0,),))


def test_without_a_template_the_newlines_between_messages_are_nobodys(kind: str) -> None:
    read = renderer(kind, None)
    found = read.measure(Prompt((user("snow"), user("falls")), plain=True))
    assert found.tokens == len(read.ids(Prompt((user("snow"), user("falls")), plain=True)))
    assert found.template >= 1


def test_tokens_that_say_what_they_stand_for_are_counted_by_it() -> None:
    begun = by_pieces("né va", [b"<s>", b"n", b"\xc3", b"\xa9", b" va"])
    assert begun is not None
    assert [begun(place) for place in range(6)] == [0, 1, 3, 3, 4, 4]  # the space of " va" begins where va does
    assert by_pieces("né", [b"n", b"?"]) is None


def test_where_nothing_tells_the_places_beginnings_are_counted() -> None:
    begun = by_lengths("ab cd", 3, lambda text: text.split())
    assert [begun(place) for place in (0, 2, 4, 5, 6)] == [0, 1, 2, 3, 3]


@pytest.mark.parametrize(
    ("text", "skeleton", "parts", "found"),
    [
        ("[a b]", "[\ue0000\ue001]", ["a b"], [(1, 4, 0)]),
        ("[a b]", "[\ue0000\ue001]", [" a b\n"], [(1, 4, 0)]),
        ("[ab]", "[\ue0000\ue001\ue0001\ue001]", [" a", "b "], [(1, 2, 0), (2, 3, 1)]),
        ("[A]x[B]", "[\ue0001\ue001]x[\ue0000\ue001]", ["B", "A"], [(1, 2, 1), (5, 6, 0)]),
        ("[a]]", "[\ue0000\ue001]", ["a]"], [(1, 3, 0)]),
        ("say A", "say \ue0000\ue001", ["a"], [(4, 5, 0)]),
        ("other", "[\ue0000\ue001]", ["a"], []),
        ("[a]\ue0007\ue001", "[\ue0000\ue001]\ue0007\ue001", ["a"], [(1, 2, 0)]),
    ],
)  # fmt: skip
def test_parts_are_found_between_what_the_template_writes(
    text: str, skeleton: str, parts: Sequence[str], found: list[tuple[int, int, int]]
) -> None:
    assert list(spans(text, skeleton, parts)) == found


def test_smollm2s_template_is_measured_with_the_system_prompt_that_nobody_wrote(smollm2: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    read = Renderer(tokenizer)
    prompt = Prompt((user("What is snow?"),))
    found = read.measure(prompt)
    written = len(tokenizer.encode("You are a helpful AI assistant named SmolLM, trained by Hugging Face"))
    assert found.parts == ((len(tokenizer.encode("What is snow?")),),)
    assert found.template > written
    told = read.measure(Prompt((system("You are brief."), *prompt.messages)))
    assert told.template < found.template
    random = Random(3)
    for _ in range(40):
        one = conversation(random)
        counted = read.measure(one)
        assert counted.tokens == len(read.ids(one)) == counted.template + sum(map(sum, counted.parts))


def test_a_prompt_is_read_once_for_all_who_ask_of_one_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    read, encoded = renderer("bytes", CHATML), list[str]()
    whole = Words.read

    def noted(self: Words, text: str, special: bool) -> Any:
        encoded.append(text)
        return whole(self, text, special)

    monkeypatch.setattr(Words, "read", noted)
    for _ in range(3):
        prompt = Prompt((user("snow"),))
        assert read.measure(prompt, "ann").tokens == len(read.ids(prompt, "ann"))
    assert len(encoded) == 1
    read.ids(Prompt((user("snow"),)), "ben")  # who may not learn from the time it takes that somebody asked it
    assert len(encoded) == 2
    read.ids(Prompt((user("snow"),)))
    read.ids(Prompt((user("snow"),)))
    assert len(encoded) == 4  # nobody's is not remembered
    assert ledger_of(Prompt((user("snow"),)), EngineOf(read), "ann").tokens == len(read.ids(Prompt((user("snow"),))))


class EngineOf:
    """As much of an engine as measuring takes."""

    def __init__(self, read: Renderer) -> None:
        self.measure = read.measure
