from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, replace
from datetime import date
from random import Random
from types import MappingProxyType

import pytest

from vllm_flow.core.codec import completion_from_json, encode, to_json, turn_from_json
from vllm_flow.core.json_text import decode
from vllm_flow.core.likelihoods import Alternative, Scored, TokenLikelihood
from vllm_flow.core.media import Audio, Image
from vllm_flow.core.message_json import message_from_json
from vllm_flow.core.messages import Message, Text, assistant, system, user
from vllm_flow.core.results import Failure, Result
from vllm_flow.core.values import BadRow, Completion, Turn, Usage

DONE = {
    "text": "Hi",
    "token_ids": [4, 2],
    "finish_reason": "stop",
    "usage": {"prompt_tokens": 7, "completion_tokens": 2},
    "logprobs": None,
}
COLUMNS = {"processed_logprob": [0, 0], "raw_entropy": [1, 1], "processed_entropy": [0, 0]}


def refusal(read, data, *where):
    with pytest.raises(ValueError, match=r"\.") as caught:
        read(data, *where)
    assert type(caught.value) is ValueError
    return str(caught.value)


def test_a_message_of_one_text_is_written_with_content():
    assert to_json(user("Hi")) == {"role": "user", "content": "Hi"}
    assert to_json(user("")) == {"role": "user", "content": ""}


def test_a_message_of_several_parts_or_none_is_written_with_parts():
    assert to_json(Message("user", (Text("a"), Text("b")))) == {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}
    assert to_json(Message("assistant", ())) == {"role": "assistant", "parts": []}


def test_any_frozen_value_is_written_field_by_field():
    @dataclass(frozen=True)
    class Own:
        items: tuple[int, ...]
        table: MappingProxyType[str, object]

    assert to_json(Own((1, 2), MappingProxyType({"x": (None, 1.5, True)}))) == {
        "items": [1, 2],
        "table": {"x": [None, 1.5, True]},
    }
    assert to_json(BadRow(3, "a.jsonl:4", "bad. Good.")) == {"index": 3, "row": "a.jsonl:4", "problem": "bad. Good."}
    assert to_json(Result(Turn("c", user("Hi"), number=2), failure=Failure("reply", "EngineError", "off"))) == {
        "turn": {
            "conversation": "c",
            "message": {"role": "user", "content": "Hi"},
            "history": [],
            "number": 2,
            "sample": 0,
            "index": 0,
        },
        "value": None,
        "failure": {"node": "reply", "kind": "EngineError", "message": "off"},
        "stored": False,
    }


def test_an_encoded_value_is_one_line_of_ascii():
    assert encode({"text": "é\n\u2028\ud83d"}) == r'{"text":"\u00e9\n\u2028\ud83d"}'


def test_300_random_values_come_back_as_they_were():
    random = Random(11)

    def text():
        return "".join(random.choice('ab \n\0é–是😀\ud83d\u2028"\\') for _ in range(random.randint(0, 8)))

    def message():
        role = random.choice(["system", "user", "assistant"])
        return Message(role, tuple(Text(text()) for _ in range(random.randint(0, 3))))

    for _ in range(300):
        number = random.choice([None, 1, 2**63 - 1])
        history = tuple(message() for _ in range(random.randint(0, 3)))
        turn = Turn(text(), message(), history, number, random.randint(0, 3), random.randint(0, 99), tenant=text())
        assert turn_from_json(decode(encode(turn))) == turn
        ids = tuple(random.randrange(2**17) for _ in range(random.randint(0, 5)))
        logprobs = random.choice([None, tuple(-random.expovariate(1) for _ in ids)])
        reason = random.choice(["stop", "length", "interrupted"])
        listed = random.choice([(), (Alternative(7, text(), -0.25, 0.0), Alternative(8, text(), -9.5, -math.inf))])
        likely = TokenLikelihood(-random.random(), random.random(), random.random(), listed)
        likelihoods = random.choice([None, (likely,) * len(ids)])
        ends = random.choice([None, tuple(2 * place for place in range(len(ids)))])
        reply = Completion(text(), ids, reason, Usage(random.randint(0, 99), len(ids)), logprobs, likelihoods, ends)
        assert completion_from_json(decode(encode(reply))) == reply


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"a": [0, float("inf")]}, "a.1: inf is no JSON number. Use a finite one or None."),
        (
            Completion("", (1,), "stop", Usage(1, 1), (float("nan"),)),
            "logprobs.0: nan is no JSON number. Use a finite one or None.",
        ),
        (
            Completion("", (1,), "stop", Usage(1, 1), (0.0,), (TokenLikelihood(0.0, float("nan"), 0.0),)),
            "likelihoods.raw_entropy.0: nan is no JSON number. Use a finite one or None.",
        ),
        ({"a": {2: 3}}, "a: the key 2 is no text. JSON has texts as keys only."),
        (b"x", "the value: bytes cannot be written as JSON. Use texts, numbers, lists and mappings."),
        (Text, "the value: type cannot be written as JSON. Use texts, numbers, lists and mappings."),
    ],
)
def test_what_json_cannot_hold_is_refused_with_its_place(value, problem):
    assert refusal(encode, value) == problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1, "a": 2}', "the key 'a' is given twice. Keep one of them."),
        ('[{"b": {"c": 1, "c": 1}}]', "the key 'c' is given twice. Keep one of them."),
        ("[NaN]", "NaN is not JSON. Write a finite number or null."),
        ("-Infinity", "-Infinity is not JSON. Write a finite number or null."),
        ("[1e999]", "1e999 is too large a number. Write a smaller one."),
        ("1" * 5000, "a whole number of thousands of digits. Write a smaller one."),
        ('{"a": 1', "not JSON, at character 8: Expecting ',' delimiter. Write one JSON value."),
        ("", "not JSON, at character 1: Expecting value. Write one JSON value."),
        ("{} {}", "not JSON, at character 4: Extra data. Write one JSON value."),
        ("[" * 100_000, "nested too deeply to be read. Write it flatter."),
    ],
)
def test_unsafe_json_is_refused(text, problem):
    assert refusal(decode, text) == problem


def test_a_message_is_read_in_the_forms_people_write():
    both = Message("user", (Text("a"), Text("b")))
    assert message_from_json({"role": "system", "content": "Hi"}) == system("Hi")
    assert message_from_json({"role": "assistant", "parts": [{"text": "Hi"}]}) == assistant("Hi")
    assert message_from_json({"role": "user", "content": [{"type": "text", "text": "a"}, {"text": "b"}]}) == both


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("Hi", "message: 'Hi' is no mapping. Give one with the keys: role."),
        ({"content": "Hi"}, "message: 'role' is missing. Add it."),
        ({"role": "robot", "content": ""}, "message.role: 'robot' is no role. Roles: assistant, system, tool, user."),
        ({"role": ["user"], "content": ""}, "message.role: a list is no role. Roles: assistant, system, tool, user."),
        ({"role": "user"}, "message: it has neither of 'content' and 'parts'. Give one of them."),
        (
            {"role": "user", "content": "", "parts": []},
            "message: it has both of 'content' and 'parts'. Give one of them.",
        ),
        (
            {"role": "user", "contnet": "Hi"},
            "message: there is no key 'contnet'. Did you mean 'content'? Keys: content, parts, role.",
        ),
        ({"role": "user", "content": 3}, "message.content: 3 is neither a text nor a list of parts. Give one of them."),
        ({"role": "user", "parts": "Hi"}, "message.parts: 'Hi' is no list. Put it in square brackets."),
        ({"role": "user", "content": ["Hi"]}, "message.content.0: 'Hi' is no mapping. Give one with the keys: text."),
        ({"role": "user", "parts": [{"text": 1}]}, "message.parts.0.text: 1 is no text. Put it in quotation marks."),
        (
            {"role": "user", "parts": [{"text": "a", "bold": True}]},
            "message.parts.0: there is no key 'bold'. Keys: text, type.",
        ),
        (
            {"role": "user", "content": [{"text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]},
            "message.content.1: a part of type 'image_url'. Types that are read: audio, image, text, tool_call, tool_result.",
        ),
        (
            {"role": "user", "parts": [{"image": "cat.png"}]},
            "message.parts.0: a part with 'image'. Types that are read: audio, image, text, tool_call, tool_result.",
        ),
    ],
)
def test_a_message_at_fault_is_refused_with_its_place(data, problem):
    assert refusal(message_from_json, data) == problem


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"conversation": 1}, "turn.conversation: 1 is no text. Put it in quotation marks."),
        ({"history": {}}, "turn.history: a mapping is no list. Put it in square brackets."),
        ({"history": [{}]}, "turn.history.0: 'role' is missing. Add it."),
        ({"number": 0}, "turn.number: 0 does not fit. Give a whole number of 1 or more, below 2**63."),
        ({"number": True}, "turn.number: true does not fit. Give a whole number of 1 or more, below 2**63."),
        ({"sample": 2**63}, f"turn.sample: {2**63} does not fit. Give a whole number of 0 or more, below 2**63."),
        ({"tenant": 3}, "turn.tenant: 3 is no text. Put it in quotation marks."),
        (
            {"remember": ["city"]},
            "turn.remember: a list does not fit. Give texts by name, and null for what is to be forgotten.",
        ),
        (
            {"remember": {"age": 3}},
            "turn.remember: a mapping does not fit. Give texts by name, and null for what is to be forgotten.",
        ),
        (
            {"remember": {" ": "x"}},
            "turn.remember: a mapping does not fit. Give texts by name, and null for what is to be forgotten.",
        ),
        ({"index": 1.0}, "turn.index: 1.0 does not fit. Give a whole number of 0 or more, below 2**63."),
        (
            {"indx": 1},
            "turn: there is no key 'indx'. Did you mean 'index'? "
            "Keys: conversation, feedback, history, index, message, number, progress, reference, remember, sample, tenant.",
        ),
    ],
)
def test_a_turn_at_fault_is_refused_with_its_place(change, problem):
    data = to_json(Turn("c", user("Hi"), number=1)) | change
    assert refusal(turn_from_json, data) == problem


def test_a_turn_of_no_tenant_is_written_without_one():
    turn = Turn("c", user("Hi"), number=1)
    assert list(to_json(turn)) == ["conversation", "message", "history", "number", "sample", "index"]
    assert to_json(dataclasses.replace(turn, tenant="ann")) == to_json(turn) | {"tenant": "ann"}


def test_what_is_to_be_remembered_is_written_with_the_turn_and_read_again():
    turn = Turn("c", user("Hi"), number=1, remember={"city": "Oslo", "age": None})
    assert to_json(turn)["remember"] == {"city": "Oslo", "age": None}
    assert turn_from_json(to_json(turn)) == turn


def test_what_was_scored_is_written_with_its_perplexity_and_without_infinities():
    scored = Scored((4, 2), (-0.5, -1.5), (0.25, 1.0), (True, False), 3)
    assert (scored.logprob, scored.perplexity, scored.text) == (-2.0, math.e, "perplexity 2.718 over 2 tokens")
    columns = {
        "token_ids": [4, 2],
        "logprobs": [-0.5, -1.5],
        "entropies": [0.25, 1.0],
        "greedy": [True, False],
        "prompt_tokens": 3,
    }
    assert to_json(scored) == columns | {"perplexity": math.e}
    impossible = dataclasses.replace(scored, logprobs=(-0.5, -math.inf))
    assert (impossible.logprob, impossible.perplexity, impossible.text) == (
        -math.inf,
        math.inf,
        "perplexity inf over 2 tokens",
    )
    assert to_json(impossible) == columns | {"logprobs": [-0.5, None], "perplexity": None}
    assert dataclasses.replace(scored, logprobs=(-1e5, -1e5)).perplexity == math.inf


def test_likelihoods_are_written_in_columns_and_nothing_where_there_are_none():
    told = (TokenLikelihood(-0.5, 1.0, 0.25), TokenLikelihood(0.0, 2.0, 0.0))
    reply = Completion("Hi", (4, 2), "stop", Usage(7, 2), (-1.0, -2.0), told)
    columns = {"processed_logprob": [-0.5, 0.0], "raw_entropy": [1.0, 2.0], "processed_entropy": [0.25, 0.0]}
    assert to_json(reply) == DONE | {"logprobs": [-1.0, -2.0], "likelihoods": columns}
    assert to_json(dataclasses.replace(reply, logprobs=None, likelihoods=None)) == DONE
    listed = dataclasses.replace(told[0], alternatives=(Alternative(9, "Ho", -1.5, -math.inf),))
    written = to_json(dataclasses.replace(reply, likelihoods=(listed, told[1])))
    assert written["likelihoods"] == columns | {"alternatives": [[[9, "Ho", -1.5, None]], []]}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"text": None}, "completion.text: null is no text. Put it in quotation marks."),
        (
            {"token_ids": [1, -1]},
            "completion.token_ids.1: -1 does not fit. Give a whole number of 0 or more, below 2**63.",
        ),
        ({"finish_reason": "eos"}, "completion.finish_reason: 'eos' is none. There are: interrupted, length, stop."),
        ({"usage": {"prompt_tokens": 1}}, "completion.usage: 'completion_tokens' is missing. Add it."),
        ({"logprobs": ["-1"]}, "completion.logprobs.0: '-1' is no number. Give one."),
        (
            {"model": "x" * 99},
            "completion: there is no key 'model'. Keys: finish_reason, likelihoods, logprobs, parsed, steps, text, text_ends, token_ids, usage.",
        ),
        ({"likelihoods": {}}, "completion.likelihoods: 'processed_logprob' is missing. Add it."),
        (
            {"likelihoods": COLUMNS | {"raw_entropy": [0.5]}},
            "completion.likelihoods: not every list has 2 items. Give one for each token.",
        ),
        (
            {"likelihoods": COLUMNS | {"alternatives": [[], [[7, "a", -1]]]}},
            "completion.likelihoods.alternatives.1.0: a list is no alternative. "
            "Give [id, text, logprob, processed logprob].",
        ),
        (
            {"likelihoods": COLUMNS | {"alternatives": [[], [[7, "a", None, None]]]}},
            "completion.likelihoods.alternatives.1.0.0: null is no number. Give one.",
        ),
    ],
)
def test_a_completion_at_fault_is_refused_with_its_place(change, problem):
    assert completion_from_json(json.loads(json.dumps(DONE))) == Completion("Hi", (4, 2), "stop", Usage(7, 2))
    assert refusal(completion_from_json, DONE | change) == problem


def test_what_yaml_reads_as_a_date_is_no_text():
    data = {"role": "user", "content": date(2026, 1, 2)}
    assert refusal(message_from_json, data) == (
        'message.content: "2026-01-02" is neither a text nor a list of parts. Give one of them.'
    )


def test_the_caller_may_name_the_place():
    assert refusal(message_from_json, {}, "messages.3") == "messages.3: 'role' is missing. Add it."


def test_an_error_stays_one_short_line():
    assert refusal(message_from_json, {"role": "x" * 5000, "content": ""}) == (
        f"message.role: '{'x' * 56}... is no role. Roles: assistant, system, tool, user."
    )


def test_a_reference_is_written_only_where_there_is_one_and_comes_back():
    plain, compared = Turn("a", user("Hi"), number=1), Turn("a", user("Hi"), number=1, reference={"any": [1, None]})
    assert "reference" not in to_json(plain)
    assert to_json(compared)["reference"] == {"any": [1, None]}
    for turn in (plain, compared):
        assert turn_from_json(decode(encode(turn))) == turn
    assert hash(compared) == hash(plain)
    assert compared != plain


def test_a_medium_is_written_without_its_content_and_read_as_the_same() -> None:
    image = Image("a" * 64, 3, 2, "cat.png", b"its content", of_frames=9)
    audio = Audio("b" * 64, 16000, 8000)
    message = Message("user", (image, Text("What is it?"), audio))
    written = json.loads(encode(message))
    assert written["parts"] == [
        {"type": "image", "digest": "a" * 64, "width": 3, "height": 2, "source": "cat.png", "of_frames": 9},
        {"text": "What is it?"},
        {"type": "audio", "digest": "b" * 64, "sample_rate_hz": 16000, "frames": 8000},
    ]
    assert message_from_json(written) == message
    read = message_from_json(written).media
    assert (read, read[0].of_frames) == ((replace(image, data=None), audio), 9)
    assert (message.text, audio.seconds) == ("What is it?", 0.5)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"digest": "A" * 9}, "message.parts.0.digest: 'AAAAAAAAA' is no digest. It has 64 hexadecimal digits."),
        (
            {"width": 0},
            "message.parts.0.width: 0 does not fit. Give a whole number of 1 or more, below 2**63.",
        ),
        ({"source": 3}, "message.parts.0.source: 3 is no text. Put it in quotation marks."),
    ],
)
def test_a_medium_at_fault_is_refused_with_its_place(changed: dict[str, object], problem: str) -> None:
    part = {"type": "image", "digest": "a" * 64, "width": 3, "height": 2, **changed}
    with pytest.raises(ValueError, match=r"^message") as caught:
        message_from_json({"role": "user", "parts": [part]})
    assert str(caught.value) == problem


def test_what_is_shown_of_a_message_names_its_images_and_sounds() -> None:
    image, audio = Image("a" * 64, 3, 2, "cat.png"), Audio("b" * 64, 16000, 24000)
    message = Message("user", (Text("This:"), image, Text("and this:"), audio))
    assert message.shown == "This: [image cat.png] and this: [audio 1.5 s]"
    assert message.text == "This:and this:"
    assert Message("user", (replace(image, source=""),)).shown == "[image 3×2]"
    assert user(" as it is\n").shown == " as it is\n"
