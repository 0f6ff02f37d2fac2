"""What only an echo does; what every engine does is in test_promises.py."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

import pytest

from vllm_flow.core.errors import ConfigError, EngineError
from vllm_flow.core.likelihoods import Alternative, TokenLikelihood
from vllm_flow.core.media import Audio, Image
from vllm_flow.core.messages import Message, Text, assistant, system, user
from vllm_flow.core.pipeline import Pipeline
from vllm_flow.core.registry import resource
from vllm_flow.core.sampling import Sampling, in_force, unsupported
from vllm_flow.core.spec import RunSpec
from vllm_flow.core.values import Completion, Request, Token, Usage
from vllm_flow.engines.echo import Echo, pieces, token_id
from vllm_flow.testing import EchoEngine, ask, prompt, schedule
from vllm_flow.testing.engine_promises import TAME


def reply(*said: str | Message, **sampling: Any) -> Completion:
    return ask(EchoEngine(), *said, **sampling)


def tokens(*said: str | Message, **sampling: Any) -> list[Token]:
    async def collect() -> list[Token]:
        return [token async for token in EchoEngine().generate(Request(prompt(*said), schedule(**sampling)))]

    return asyncio.run(collect())


def test_it_is_registered_and_shared() -> None:
    entry = resource.find("engine/echo")
    assert entry is not None
    assert (entry.shared, entry.cls) == (True, Echo)


def test_it_says_the_newest_user_message_back_word_by_word() -> None:
    said = (system("Be brief."), user("first"), assistant("first"), user(" Hello,  world\n"))
    assert [token.text for token in tokens(*said)] == [" Hello,", "  world", "\n"]
    assert reply(*said).text == " Hello,  world\n"
    assert reply(*said).usage == Usage(prompt_tokens=7, completion_tokens=3)
    assert reply(*said).finish_reason == "stop"


def test_joined_pieces_are_the_text() -> None:
    for text in ("", " ", "a", " a  b\t\nc ", "你好 🙂  x", "\u00a0nbsp"):
        assert "".join(pieces(text)) == text


def test_token_ids_are_the_crc_of_the_piece() -> None:
    assert reply("to be").token_ids == (zlib.crc32(b"to"), zlib.crc32(b" be"))


@pytest.mark.parametrize("said", ["", assistant("Hi")])
def test_without_words_there_is_one_empty_token(said: str | Message) -> None:
    (token,) = tokens(said)
    assert token.text == ""
    assert token.finish is not None
    assert token.finish.reason == "stop"


def test_max_tokens_ends_it_with_length_only_when_words_are_left() -> None:
    cut, whole = reply("a b c", max_tokens=2), reply("a b c", max_tokens=3)
    assert (cut.text, cut.finish_reason) == ("a b", "length")
    assert (whole.text, whole.finish_reason) == ("a b c", "stop")


def test_a_stop_string_across_pieces_ends_it_and_is_not_shown() -> None:
    answer = reply("one two three four", stop=("o th",))
    assert (answer.text, answer.finish_reason, len(answer.token_ids)) == ("one tw", "stop", 3)


def test_a_stop_token_ends_it_and_is_not_shown() -> None:
    answer = reply("one two three four", stop_token_ids=(token_id(" three"),), stop=("two!",))
    assert (answer.text, answer.finish_reason, len(answer.token_ids)) == ("one two", "stop", 3)


def test_what_looks_like_a_stop_string_is_shown_in_the_end() -> None:
    assert [token.text for token in tokens("one two", stop=("two!",))] == ["one", " two"]
    assert reply("one two three", stop=("two!",), max_tokens=2).text == "one two"


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(EngineError) as caught:
        reply("a", stop=("",))
    assert str(caught.value) == "sampling.stop: an empty text would end every answer at once. Remove it."


def test_logprobs_are_zero() -> None:
    assert reply("a b", logprobs=True).logprobs == (0.0, 0.0)
    only = Alternative(token_id("a"), "a", 0.0, 0.0)
    assert reply("a", logprobs=True, top_logprobs=3).likelihoods == (TokenLikelihood(0.0, 0.0, 0.0, (only,)),)


def test_whatever_leaves_all_probability_on_one_token_changes_nothing() -> None:
    honoured = Echo().capabilities().sampling
    wild = Sampling(**{name: value for name, value in TAME.items() if name in honoured}, max_tokens=50)
    assert unsupported(wild, honoured) == []
    assert reply("a b", **in_force(wild)).text == "a b"


def test_what_would_make_it_say_something_else_is_refused_by_check() -> None:
    spec = RunSpec(
        "one",
        {
            "context": {"use": "context/full"},
            "prompt": {"use": "fuse/chat"},
            "schedule": {"use": "schedule/sampling"},
            "reply": {"use": "infer/generate"},
        },
        "reply",
        {"engine": {"use": "engine/echo"}, "store": {"use": "store/memory"}},
        {"logit_bias": {"7": 1}, "bad_words": ["a"], "min_tokens": 3},
    )
    with pytest.raises(ConfigError) as caught:
        Pipeline.build(spec)
    told = [str(one) for one in caught.value.faults]
    assert [one.partition(":")[0] for one in told] == [
        "sampling.logit_bias",
        "sampling.bad_words",
        "sampling.min_tokens",
    ]
    assert all(": the engine cannot honour it. Remove it, or choose another engine;" in one for one in told)


def test_pictures_and_sounds_are_words_that_say_how_large_they_are() -> None:
    shown = Message(
        "user", (Text("Look: "), Image("a" * 64, 640, 480), Text(" and hear"), Audio("b" * 64, 8000, 20_000))
    )
    assert reply(shown).text == "Look: [image 640x480] and hear[audio 2.5 s]"
    engine, asked = EchoEngine(), prompt(shown)
    assert engine.count(asked) == 7
    assert engine.measure(asked).parts == ((1, 2, 2, 2),)
    assert Echo().capabilities().media == {"image", "audio"}
