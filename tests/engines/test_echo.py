from __future__ import annotations

import asyncio
import zlib

import pytest

from vllm_flow.core.errors import EngineError
from vllm_flow.core.registry import resource
from vllm_flow.core.resources import Engine, EngineOptions
from vllm_flow.core.sampling import Sampling, Schedule, unsupported
from vllm_flow.core.values import Completion, Prompt, Request, Token, Usage, assistant, system, user
from vllm_flow.engines.echo import Echo, pieces
from vllm_flow.stages.infer import complete


def ask(*messages, logprobs=False, **sampling) -> Request:
    return Request(Prompt(messages), Schedule(Sampling(**sampling)), logprobs=logprobs)


def reply(request: Request) -> Completion:
    return asyncio.run(complete(Echo().open(), request))


def tokens(request: Request) -> list[Token]:
    async def collect() -> list[Token]:
        return [token async for token in Echo().open().generate(request)]

    return asyncio.run(collect())


def test_it_is_registered_shared_and_keeps_both_contracts():
    entry = resource.find("engine/echo")
    assert entry is not None
    assert entry.shared
    assert entry.cls is Echo
    assert isinstance(Echo(), EngineOptions)
    assert isinstance(Echo().open(), Engine)


def test_it_says_the_newest_user_message_back_word_by_word():
    request = ask(system("Be brief."), user("first"), assistant("first"), user(" Hello,  world\n"))
    assert [token.text for token in tokens(request)] == [" Hello,", "  world", "\n"]
    assert reply(request).text == " Hello,  world\n"
    assert reply(request).usage == Usage(prompt_tokens=7, completion_tokens=3)
    assert reply(request).finish_reason == "stop"


def test_joined_pieces_are_the_text():
    for text in ("", " ", "a", " a  b\t\nc ", "你好 🙂  x", "\u00a0nbsp"):
        assert "".join(pieces(text)) == text


def test_token_ids_are_the_crc_of_the_piece():
    assert reply(ask(user("to be"))).token_ids == (zlib.crc32(b"to"), zlib.crc32(b" be"))


@pytest.mark.parametrize("messages", [(user(""),), (assistant("Hi"),)])
def test_without_words_there_is_one_empty_token(messages):
    (token,) = tokens(ask(*messages))
    assert token.text == ""
    assert token.finish is not None
    assert token.finish.reason == "stop"


def test_max_tokens_ends_it_with_length_only_when_words_are_left():
    assert (reply(ask(user("a b c"), max_tokens=2)).text, reply(ask(user("a b c"), max_tokens=2)).finish_reason) == (
        "a b",
        "length",
    )
    assert reply(ask(user("a b c"), max_tokens=3)).finish_reason == "stop"


def test_a_stop_string_across_pieces_ends_it_and_is_not_shown():
    answer = reply(ask(user("one two three four"), stop=("o th",)))
    assert (answer.text, answer.finish_reason, len(answer.token_ids)) == ("one tw", "stop", 3)


def test_what_looks_like_a_stop_string_is_shown_in_the_end():
    request = ask(user("one two"), stop=("two!",))
    assert [token.text for token in tokens(request)] == ["one", " two"]
    assert reply(ask(user("one two three"), stop=("two!",), max_tokens=2)).text == "one two"


def test_an_empty_stop_string_is_refused():
    with pytest.raises(EngineError) as caught:
        reply(ask(user("a"), stop=("",)))
    assert str(caught.value) == "sampling.stop: an empty text would end every answer at once. Remove it."


def test_logprobs_are_zero_and_only_given_when_asked_for():
    assert reply(ask(user("a b"), logprobs=True)).logprobs == (0.0, 0.0)
    assert reply(ask(user("a b"))).logprobs is None


def test_no_parameter_is_unsupported_and_none_changes_the_answer():
    wild = Sampling(0.2, 0.5, 3, 0.1, 1.3, 0.4, 0.2, 50, ("zz",), 2)
    assert unsupported(wild, Echo().capabilities().sampling) == []
    assert asyncio.run(complete(Echo().open(), Request(Prompt((user("a b"),)), Schedule(wild)))).text == "a b"


def test_many_requests_are_in_flight_at_once():
    async def go() -> list[int]:
        begun = 0
        seen = []

        async def one() -> None:
            nonlocal begun
            begun += 1
            await complete(Echo().open(), ask(user("a b c")))
            seen.append(begun)

        await asyncio.gather(*(one() for _ in range(50)))
        return seen

    assert asyncio.run(go()) == [50] * 50
