"""fuse/native: the newest media stay as they are, and of older ones it is said that they were there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vllm_flow.core.media import Audio, Image
from vllm_flow.core.messages import assistant, user
from vllm_flow.core.segments import LeftOut
from vllm_flow.core.values import Context, Prompt, Turn
from vllm_flow.engines.echo import Echo, EchoEngine
from vllm_flow.stages.fuse import Chat
from vllm_flow.stages.fuse_native import Native
from vllm_flow.testing import check_stage

CATS = [Image(f"{number}" * 64, 4, 3, f"cat{number}.png", b"a cat") for number in range(3)]
BEEP = Audio("f" * 64, 16000, 16000, "beep.wav", b"a beep")
EARLIER = Context(
    (user("One.", CATS[0]), assistant("I see."), user("Two, and a beep.", CATS[1], BEEP), assistant("I see and hear."))
)
TURN = Turn("test", user("And again?", CATS[2], CATS[0]), number=3)


def prompt_of(native: Native) -> Prompt:
    described = check_stage(native, turn=TURN, context=EARLIER)
    made: Prompt = check_stage(Chat(), turn=TURN, context=EARLIER, engine=EchoEngine(), described=described)
    return made


def shown(prompt: Prompt) -> list[list[str]]:
    return [[one.source for one in message.media] for message in prompt.messages]


def test_all_media_stay_where_they_were_said_while_there_are_few() -> None:
    prompt = prompt_of(Native())
    assert shown(prompt) == [["cat0.png"], [], ["cat1.png", "beep.wav"], [], ["cat2.png", "cat0.png"]]
    assert prompt.ledger is not None
    assert prompt.ledger.left_out == ()


def test_one_that_is_shown_again_counts_where_it_was_shown_last() -> None:
    prompt = prompt_of(Native(images=2))
    assert shown(prompt) == [["cat0.png"], [], ["beep.wav"], [], ["cat2.png", "cat0.png"]]
    why = "cat1.png: only the newest 2 pictures are shown"
    assert prompt.ledger is not None
    assert prompt.ledger.left_out == (LeftOut("media", "pictures", 1, why),)
    assert "[this picture is not shown any more]" in prompt.messages[2].text
    assert prompt.messages[2].text.endswith("Two, and a beep.")


def test_none_of_a_kind_may_be_shown() -> None:
    prompt = prompt_of(Native(images=None, sounds=0))
    assert shown(prompt) == [["cat0.png"], [], ["cat1.png"], [], ["cat2.png", "cat0.png"]]
    assert prompt.ledger is not None
    assert [one.why for one in prompt.ledger.left_out] == ["beep.wav: only the newest 0 recordings are shown"]


def test_one_that_is_gone_is_told_of_and_counts_for_none() -> None:
    earlier = Context(
        (user("Zero.", replace(CATS[0], digest="e" * 64, source="old.png", data=None)), *EARLIER.messages)
    )
    turn = Turn("test", user("Again?", CATS[2]))
    described = check_stage(Native(images=3), turn=turn, context=earlier)
    assert described.lines == {"e" * 64: ("[this picture is not shown any more]",)}
    assert [one.why for one in described.left_out] == ["old.png: its content is not here any more"]


def test_for_an_engine_that_reads_none_there_is_a_warning() -> None:
    class Blind(Echo):
        def capabilities(self) -> Any:
            return replace(super().capabilities(), media=frozenset())

    assert list(Native().advise(Echo())) == []
    assert list(Native().advise(Blind())) == [
        (
            (),
            "the engine reads no images and no sounds. Choose a model that does, or have them put in words: use "
            "fuse/describe.",
        )
    ]
