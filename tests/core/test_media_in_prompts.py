"""Pictures and sounds among what prompts say: whose they are, and what becomes of them beside tools."""

from __future__ import annotations

import pytest

from vllm_flow.core.errors import EngineError
from vllm_flow.core.layout import Layout
from vllm_flow.core.ledger import Entry
from vllm_flow.core.measuring import ledger_of
from vllm_flow.core.media import Audio, Image
from vllm_flow.core.messages import Message, Text, assistant, user
from vllm_flow.core.segments import HISTORY, Item, Segment
from vllm_flow.core.taking import check_media
from vllm_flow.core.tool_prompts import folded, has_tools, written_out
from vllm_flow.core.tool_values import ToolCall, ToolResult
from vllm_flow.core.values import Prompt
from vllm_flow.testing import EchoEngine

TEA = Image("a" * 64, 640, 480, "tea.png")
BIRD = Audio("b" * 64, 8000, 20_000, "bird.wav")
SHOWN = Message("user", (Text("What is this? "), TEA))


def test_the_ledger_of_a_fuser_counts_media_apart_wherever_they_stand() -> None:
    earlier = (Message("user", (Text("Hear: "), BIRD)), assistant("A bird."))
    facts = Segment("facts", (Item("tea is hot"),))
    prompt = Layout.of("Be brief.", (earlier, HISTORY), [facts], SHOWN, lambda _, share: share).laid().prompt
    ledger = ledger_of(prompt, EchoEngine())
    assert [(one.segment, one.tokens, one.items, one.sources) for one in ledger.entries] == [
        ("system", 2, 1, ()), ("history", 3, 2, ()), ("facts", 5, 1, ()),
        ("media", 5, 2, ("bird.wav", "tea.png")), ("question", 3, 1, ()),
    ]  # fmt: skip
    assert ledger.tokens == EchoEngine().count(prompt)


def test_so_does_the_ledger_of_a_prompt_without_one() -> None:
    ledger = ledger_of(Prompt((user("Hi."), SHOWN)), EchoEngine())
    known = {"history": 1, "media": 2, "question": 3}
    assert ledger.entries == tuple(
        Entry(name, tokens, sources=("tea.png",) if name == "media" else ()) for name, tokens in known.items()
    )


def test_a_picture_is_nothing_of_tools_and_stays_where_tools_are_written_out_or_folded() -> None:
    assert not has_tools(Prompt((SHOWN,)))
    call, result = ToolCall("look", {"at": "sky"}), ToolResult("look", "blue")
    prompt = Prompt((SHOWN, Message("assistant", (call,)), Message("tool", (result,))))
    assert has_tools(prompt)
    first, *_ = written_out(prompt).messages
    assert first == SHOWN
    assert [one.media for one in folded(prompt).messages] == [(TEA,)]
    both = written_out(Prompt((Message("assistant", (Text("I look"), TEA, call)),))).messages[0]
    assert both.parts[:2] == (Text("I look\n"), TEA)


def test_an_engine_refuses_what_it_does_not_read() -> None:
    check_media(EchoEngine(), Prompt((SHOWN,)), {"image"})
    check_media(EchoEngine(), (1, 2), ())
    check_media(EchoEngine(), None, ())
    with pytest.raises(EngineError) as refusal:
        check_media(EchoEngine(), Prompt((SHOWN, Message("user", (BIRD,)))), {"image"})
    expected = (
        "the engine 'echo' reads no sounds with this model: bird.wav. Choose a model that does, or have it put in "
    )
    assert str(refusal.value) == f"{expected}words with fuse/describe."
